-- What is forgotten after a while, and how, without standing in the way of what runs.

CREATE INDEX job_closed ON job (closed_at) WHERE closed_at IS NOT NULL;
CREATE INDEX message_done_by_age ON message_done (done_at);
CREATE INDEX lease_ended ON lease (ended_at) WHERE ended_at IS NOT NULL;

-- Jobs that are forgotten, while rows of them are left: readers miss a job at once and as a whole.
CREATE TABLE pruned_job (
    job   bigint PRIMARY KEY,
    key   text COLLATE "C" NOT NULL,
    empty boolean NOT NULL DEFAULT false
);

-- When agents were removed: their states and their mail wait for some time, since they may come back.
CREATE TABLE agent_gone (
    agent_id text COLLATE "C" PRIMARY KEY,
    gone_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO agent_gone (agent_id)
SELECT s.agent_id FROM agent_state s WHERE NOT EXISTS (SELECT 1 FROM agent a WHERE a.agent_id = s.agent_id)
UNION
SELECT m.agent_id FROM message_open o JOIN message m USING (message_id)
 WHERE NOT EXISTS (SELECT 1 FROM agent a WHERE a.agent_id = m.agent_id);

-- Keys of the jobs that run and of all above them. UNION ends circles.
CREATE FUNCTION unfinished_jobs() RETURNS TABLE (key text) LANGUAGE sql STABLE AS $$
    WITH RECURSIVE up (key) AS (
        SELECT j.key COLLATE "C" FROM job j WHERE j.state = 'running'
        UNION
        SELECT l.parent FROM llm_job l JOIN up ON l.job = up.key WHERE l.parent <> ''
    )
    SELECT up.key FROM up
$$;

-- Those, and all they started: whose tokens are still counted against a budget.
CREATE FUNCTION counted_jobs() RETURNS TABLE (key text) LANGUAGE sql STABLE AS $$
    WITH RECURSIVE down (key) AS (
        SELECT u.key COLLATE "C" FROM unfinished_jobs() u
        UNION
        SELECT l.job FROM llm_job l JOIN down ON l.parent = down.key
    )
    SELECT down.key FROM down
$$;

-- Forget some jobs that were closed before a time, oldest first; how many.
CREATE FUNCTION forget_jobs(p_before timestamptz, p_limit integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    v_count integer;
BEGIN
    WITH old AS (
        SELECT j.job FROM job j
         WHERE j.closed_at < p_before AND j.state <> 'running'
           AND NOT EXISTS (SELECT 1 FROM unfinished_jobs() u WHERE u.key = j.key)
         ORDER BY j.closed_at LIMIT p_limit FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM job WHERE job.job = ANY (ARRAY(SELECT old.job FROM old)) RETURNING job.job, job.key
    )
    INSERT INTO pruned_job (job, key) SELECT gone.job, gone.key FROM gone;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;

-- Drop the partitions of 1,000 jobs that are all forgotten: null when one of them is not, or may still be opened.
-- Counts before it locks. The lock on job waits for jobs being opened, so that no number of the range is under way;
-- whoever cannot have its locks soon gives up, for all who come later queue behind a lock that is waited for.
CREATE FUNCTION drop_partitions(p_first bigint, OUT tasks bigint, OUT outcomes bigint, OUT bytes bigint)
RETURNS record LANGUAGE plpgsql AS $$
BEGIN
    IF NOT has_partition('outcome', p_first) OR NOT is_range_forgotten(p_first) THEN
        RETURN;
    END IF;
    EXECUTE format('SELECT count(*) FROM %I', 'task_' || p_first) INTO tasks;
    EXECUTE format('SELECT count(*) FROM %I', 'outcome_' || p_first) INTO outcomes;
    bytes := pg_total_relation_size(format('%I', 'task_' || p_first))
           + pg_total_relation_size(format('%I', 'outcome_' || p_first));
    PERFORM set_config('lock_timeout', '300ms', true);
    LOCK TABLE job IN SHARE MODE;
    IF NOT is_range_forgotten(p_first) THEN
        tasks := NULL;
        RETURN;
    END IF;
    EXECUTE format('DROP TABLE %I, %I', 'task_' || p_first, 'outcome_' || p_first);
END $$;

CREATE FUNCTION is_range_forgotten(p_first bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT last_value > p_first + 999 FROM job_job_seq)
       AND NOT EXISTS (SELECT 1 FROM job WHERE job.job >= p_first AND job.job < p_first + 1000);
END $$;

-- Delete at most so many rows of each table of a forgotten job; `more` says whether to come again.
-- Row addresses, since on a partition without statistics the planner makes a join quadratic; the job names the partition.
CREATE FUNCTION delete_job_rows(
    p_job bigint, p_limit integer,
    OUT tasks bigint, OUT outcomes bigint, OUT artifacts bigint, OUT bytes bigint, OUT more boolean
) RETURNS record LANGUAGE plpgsql AS $$
DECLARE
    v_bytes bigint;
    v_rows bigint;
BEGIN
    WITH gone AS (
        DELETE FROM task WHERE job = p_job
           AND ctid = ANY (ARRAY(SELECT t.ctid FROM task t WHERE t.job = p_job LIMIT p_limit))
        RETURNING octet_length(payload) AS size)
    SELECT count(*), coalesce(sum(size), 0) INTO tasks, bytes FROM gone;
    WITH gone AS (
        DELETE FROM outcome WHERE job = p_job
           AND ctid = ANY (ARRAY(SELECT o.ctid FROM outcome o WHERE o.job = p_job LIMIT p_limit))
        RETURNING octet_length(result) + octet_length(message) AS size)
    SELECT count(*), coalesce(sum(size), 0) INTO outcomes, v_bytes FROM gone;
    bytes := bytes + v_bytes;
    WITH gone AS (DELETE FROM artifact WHERE job = p_job RETURNING octet_length(content) AS size)
    SELECT count(*), coalesce(sum(size), 0) INTO artifacts, v_bytes FROM gone;
    bytes := bytes + v_bytes;
    more := greatest(tasks, outcomes) >= p_limit;
    DELETE FROM attempt WHERE ctid = ANY (ARRAY(SELECT a.ctid FROM attempt a WHERE a.job = p_job LIMIT p_limit));
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    more := more OR v_rows >= p_limit;
    DELETE FROM bad_row WHERE ctid = ANY (ARRAY(SELECT b.ctid FROM bad_row b WHERE b.job = p_job LIMIT p_limit));
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    more := more OR v_rows >= p_limit;
    DELETE FROM step_load WHERE job = p_job;
    IF NOT more THEN
        UPDATE pruned_job p SET empty = true WHERE p.job = p_job;
    END IF;
END $$;

-- Forget the place among jobs of those whose rows are gone, once no budget counts what they used.
CREATE FUNCTION forget_places() RETURNS void LANGUAGE sql AS $$
    DELETE FROM llm_job l
     WHERE l.job IN (SELECT p.key FROM pruned_job p WHERE p.empty)
       AND NOT EXISTS (SELECT 1 FROM counted_jobs() c WHERE c.key = l.job);
    DELETE FROM pruned_job p WHERE p.empty AND NOT EXISTS (SELECT 1 FROM llm_job l WHERE l.job = p.key);
$$;

-- Delete some done messages, and open ones of agents that are gone, both older than a time.
CREATE FUNCTION prune_messages(p_before timestamptz, p_limit integer, OUT messages bigint, OUT bytes bigint)
RETURNS record LANGUAGE plpgsql AS $$
DECLARE
    v_old text[] := ARRAY(SELECT d.message_id FROM message_done d WHERE d.done_at < p_before LIMIT p_limit);
BEGIN
    IF cardinality(v_old) < p_limit THEN
        v_old := v_old || ARRAY(
            SELECT o.message_id FROM agent_gone g
              JOIN message m USING (agent_id) JOIN message_open o USING (message_id)
             WHERE g.gone_at < p_before AND m.put_at < p_before
               AND NOT EXISTS (SELECT 1 FROM agent a WHERE a.agent_id = g.agent_id)
             LIMIT p_limit - cardinality(v_old));
    END IF;
    DELETE FROM message_open WHERE message_id = ANY (v_old);
    DELETE FROM message_done WHERE message_id = ANY (v_old);
    WITH gone AS (DELETE FROM message WHERE message_id = ANY (v_old) RETURNING octet_length(payload) AS size)
    SELECT count(*), coalesce(sum(size), 0) INTO messages, bytes FROM gone;
END $$;

-- Delete states of agents that were removed before a time and did not come back. The lock keeps them from doing so.
CREATE FUNCTION prune_states(p_before timestamptz, p_limit integer, OUT states bigint, OUT bytes bigint, OUT more boolean)
RETURNS record LANGUAGE plpgsql AS $$
DECLARE
    v_gone text[];
BEGIN
    PERFORM 1 FROM fleet FOR UPDATE;
    DELETE FROM agent_gone g WHERE EXISTS (SELECT 1 FROM agent a WHERE a.agent_id = g.agent_id);
    -- One whose mail is left is needed to find it.
    v_gone := ARRAY(SELECT g.agent_id FROM agent_gone g WHERE g.gone_at < p_before
                       AND NOT EXISTS (SELECT 1 FROM message m JOIN message_open o USING (message_id)
                                        WHERE m.agent_id = g.agent_id) LIMIT p_limit);
    WITH gone AS (DELETE FROM agent_state WHERE agent_id = ANY (v_gone) RETURNING octet_length(state) AS size)
    SELECT count(*), coalesce(sum(size), 0) INTO states, bytes FROM gone;
    DELETE FROM agent_gone WHERE agent_id = ANY (v_gone);
    more := cardinality(v_gone) >= p_limit;
END $$;

-- Delete leases that ended before a time. How often a task was in flight when a host died is read from crashed ones:
-- they stay while a job or an open message is older.
CREATE FUNCTION prune_leases(p_before timestamptz) RETURNS void LANGUAGE sql AS $$
    DELETE FROM lease WHERE ended_at < least(
        p_before,
        (SELECT min(opened_at) FROM job WHERE state = 'running'),
        (SELECT min(m.put_at) FROM message_open o JOIN message m USING (message_id)))
$$;
