DROP TABLE pipeline_owners;
