SELECT id, name, 'nobody yet' AS owner FROM batch;
