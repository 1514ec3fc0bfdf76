-- Jobs, their tasks and outcomes.

CREATE TABLE job (
    job              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key              text NOT NULL UNIQUE,
    workflow_id      text NOT NULL,
    template         text NOT NULL,
    plan             text NOT NULL,
    request          text NOT NULL,
    opened_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    state            text NOT NULL DEFAULT 'running',
    closed_at        timestamptz,
    reason           text NOT NULL DEFAULT '',
    cancel_requested boolean NOT NULL DEFAULT false
);
CREATE INDEX job_by_workflow ON job (workflow_id, job);
CREATE INDEX job_running ON job (job) WHERE state = 'running';

-- Written in the transaction that wrote the tasks of the step: whoever sees it sees them all.
CREATE TABLE step_load (
    job      bigint NOT NULL,
    step     integer NOT NULL,
    tasks    integer NOT NULL,
    bad_rows integer NOT NULL,
    PRIMARY KEY (job, step)
);

CREATE TABLE task (
    job      bigint NOT NULL,
    step     integer NOT NULL,
    seq      integer NOT NULL,
    agent_id text COLLATE "C",
    payload  bytea NOT NULL,
    PRIMARY KEY (job, step, seq)
) PARTITION BY RANGE (job);

-- The generation comes last in the key: the outcomes of one task lie side by side and a range of tasks is one scan.
CREATE TABLE outcome (
    job          bigint NOT NULL,
    committed_at timestamptz NOT NULL DEFAULT now(),
    step         integer NOT NULL,
    seq          integer NOT NULL,
    generation   integer NOT NULL,
    micros       integer NOT NULL,
    ok           boolean NOT NULL,
    transient    boolean NOT NULL,
    agent_id     text COLLATE "C" NOT NULL,
    error        text COLLATE "C" NOT NULL,
    message      text NOT NULL,
    result       bytea NOT NULL,
    PRIMARY KEY (job, step, seq, generation)
) PARTITION BY RANGE (job);
CREATE INDEX outcome_failed ON outcome (job, step, seq) WHERE NOT ok;

CREATE VIEW dead_letter AS
    SELECT o.job, o.step, o.generation, o.seq, o.agent_id, o.error, o.message, o.transient
      FROM outcome o
     WHERE NOT o.ok
       AND NOT EXISTS (
           SELECT 1 FROM outcome n
            WHERE n.job = o.job AND n.step = o.step AND n.seq = o.seq AND n.generation > o.generation);

-- One row a call of start_tasks. The bounds spare readers the array of attempts that lie elsewhere.
CREATE TABLE attempt (
    job         bigint NOT NULL,
    step        integer NOT NULL,
    generation  integer NOT NULL,
    incarnation text COLLATE "C" NOT NULL,
    first_seq   integer NOT NULL,
    last_seq    integer NOT NULL,
    seqs        integer[] NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX attempt_by_incarnation ON attempt (job, step, incarnation);

CREATE TABLE bad_row (
    job    bigint NOT NULL,
    line   bigint NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (job, line)
);

CREATE TABLE artifact (
    job        bigint NOT NULL,
    name       text NOT NULL,
    media_type text NOT NULL,
    content    bytea NOT NULL,
    PRIMARY KEY (job, name)
);

-- Whether a partition is attached. A query, because to_regclass answers from a cache that waiting does not refresh.
CREATE FUNCTION has_partition(p_parent regclass, p_first bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RETURN EXISTS (
        SELECT 1 FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = p_parent AND c.relname = format('%s_%s', p_parent, p_first));
END $$;

-- Make the partitions that hold a job. Attached instead of created in place, because creating a partition of a
-- table stops its readers and writers. Every 1,000 jobs share one.
CREATE FUNCTION ensure_partitions(p_job bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_first bigint := p_job / 1000 * 1000;
    v_parent text;
    v_name text;
BEGIN
    IF has_partition('outcome', v_first) THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(4851002);
    IF has_partition('outcome', v_first) THEN
        RETURN;
    END IF;
    FOREACH v_parent IN ARRAY ARRAY['task', 'outcome'] LOOP
        v_name := format('%s_%s', v_parent, v_first);
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', v_name, v_parent);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
                       v_parent, v_name, v_first, v_first + 1000);
    END LOOP;
END $$;
