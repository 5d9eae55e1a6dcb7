-- The roles whose code may run as this one: this role and those that it is made a member of, superusers,
-- the database's owner and the members of that.
member_of(oid) AS (
    SELECT oid FROM pg_roles WHERE rolname IN (current_user, session_user)
    UNION SELECT a.roleid FROM pg_auth_members a JOIN member_of m ON a.member = m.oid
),
trusted(oid) AS MATERIALIZED (
    SELECT r.oid FROM pg_roles r JOIN pg_database d ON d.datname = current_database()
    WHERE r.rolsuper OR r.rolname = 'pg_database_owner' OR r.oid IN (SELECT oid FROM member_of)
       OR pg_has_role(r.oid, d.datdba, 'MEMBER')
)
