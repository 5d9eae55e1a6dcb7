\set x 1
COPY t FROM stdin;
1	2
\.
BEGIN; COMMIT;
