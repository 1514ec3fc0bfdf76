-- Who said what in a job: calls of models and messages between agents. Written once, in batches, by the hosts.

-- By time, which is also the order they are read in. The id makes a batch that is written again change nothing.
CREATE TABLE transcript (
    job               bigint NOT NULL,
    at                double precision NOT NULL,
    seconds           double precision NOT NULL,
    step              integer NOT NULL,
    seq               integer NOT NULL,
    generation        integer NOT NULL,
    cut               integer NOT NULL,
    prompt_tokens     integer NOT NULL,
    completion_tokens integer NOT NULL,
    lost              integer NOT NULL,
    entry_id          text COLLATE "C" NOT NULL,
    kind              text COLLATE "C" NOT NULL,
    agent             text COLLATE "C" NOT NULL,
    peer              text COLLATE "C" NOT NULL,
    subject           text COLLATE "C" NOT NULL,
    incarnation       text COLLATE "C" NOT NULL,
    error             text COLLATE "C" NOT NULL,
    message           text NOT NULL,
    model             text COLLATE "C" NOT NULL,
    backend           text COLLATE "C" NOT NULL,
    tier              text COLLATE "C" NOT NULL,
    cache             text COLLATE "C" NOT NULL,
    request           text NOT NULL,
    answer            text NOT NULL,
    PRIMARY KEY (job, at, entry_id)
) PARTITION BY RANGE (job);

-- Make the partitions that hold a job, those of them that are missing. As in 0002.
CREATE OR REPLACE FUNCTION ensure_partitions(p_job bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_first bigint := p_job / 1000 * 1000;
    v_parent text;
    v_name text;
BEGIN
    IF has_partition('transcript', v_first) THEN  -- the last one made
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(4851002);
    FOREACH v_parent IN ARRAY ARRAY['task', 'outcome', 'transcript'] LOOP
        IF NOT has_partition(v_parent::regclass, v_first) THEN
            v_name := format('%s_%s', v_parent, v_first);
            EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', v_name, v_parent);
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
                           v_parent, v_name, v_first, v_first + 1000);
        END IF;
    END LOOP;
END $$;

-- Jobs that are there already speak on.
SELECT ensure_partitions(substring(c.relname FROM '[0-9]+$')::bigint)
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'outcome'::regclass;

DROP FUNCTION drop_partitions(bigint);

-- Drop the partitions of 1,000 jobs that are all forgotten. As in 0005, which says why the locks.
CREATE FUNCTION drop_partitions(
    p_first bigint, OUT tasks bigint, OUT outcomes bigint, OUT transcripts bigint, OUT bytes bigint
) RETURNS record LANGUAGE plpgsql AS $$
BEGIN
    IF NOT has_partition('outcome', p_first) OR NOT is_range_forgotten(p_first) THEN
        RETURN;
    END IF;
    EXECUTE format('SELECT count(*) FROM %I', 'task_' || p_first) INTO tasks;
    EXECUTE format('SELECT count(*) FROM %I', 'outcome_' || p_first) INTO outcomes;
    EXECUTE format('SELECT count(*) FROM %I', 'transcript_' || p_first) INTO transcripts;
    bytes := pg_total_relation_size(format('%I', 'task_' || p_first))
           + pg_total_relation_size(format('%I', 'outcome_' || p_first))
           + pg_total_relation_size(format('%I', 'transcript_' || p_first));
    PERFORM set_config('lock_timeout', '300ms', true);
    LOCK TABLE job IN SHARE MODE;
    IF NOT is_range_forgotten(p_first) THEN
        tasks := NULL;
        RETURN;
    END IF;
    EXECUTE format('DROP TABLE %I, %I, %I', 'task_' || p_first, 'outcome_' || p_first, 'transcript_' || p_first);
END $$;

-- Delete some of what was said in a job; how many rows, and the size of their texts.
CREATE FUNCTION delete_transcript(p_job bigint, p_limit integer, OUT entries bigint, OUT bytes bigint)
RETURNS record LANGUAGE sql AS $$
    WITH gone AS (
        DELETE FROM transcript
         WHERE job = p_job AND ctid = ANY (ARRAY(SELECT t.ctid FROM transcript t WHERE t.job = p_job LIMIT p_limit))
        RETURNING octet_length(request) + octet_length(answer) AS size)
    SELECT count(*), coalesce(sum(size), 0)::bigint FROM gone
$$;
