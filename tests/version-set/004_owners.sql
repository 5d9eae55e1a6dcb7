CREATE TABLE pipeline_owners (id integer PRIMARY KEY, name text NOT NULL, owner text NOT NULL);
