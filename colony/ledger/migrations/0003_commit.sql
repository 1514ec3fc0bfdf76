-- States of agents, durable messages, and the two writes that save them under the fence, each one round trip.

CREATE TABLE agent_state (
    agent_id text COLLATE "C" PRIMARY KEY,
    state    bytea NOT NULL
);

CREATE TABLE message (
    number     bigint GENERATED ALWAYS AS IDENTITY,
    message_id text COLLATE "C" PRIMARY KEY,
    agent_id   text COLLATE "C" NOT NULL,
    shard      integer NOT NULL,
    kind       text NOT NULL,
    payload    bytea NOT NULL,
    sender     text NOT NULL,
    put_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE message_done (
    message_id  text COLLATE "C" PRIMARY KEY,
    incarnation text NOT NULL,
    done_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What is in message and not in message_done: hosts ask every few seconds, so it must not cost what history costs.
CREATE TABLE message_open (
    shard      integer NOT NULL,
    number     bigint NOT NULL,
    message_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (shard, number)
);
CREATE UNIQUE INDEX message_open_by_id ON message_open (message_id);

-- Commit outcomes and states of agents; the seqs that were new, or null when the fence refused.
-- Rows go in by key: two committers of the same rows in opposite orders would wait for each other.
CREATE FUNCTION commit_outcomes(
    p_job bigint, p_step integer, p_generation integer,
    p_incarnation text, p_shards integer[], p_epochs bigint[],
    p_seqs integer[], p_agents text[], p_oks boolean[], p_errors text[], p_messages text[], p_transients boolean[],
    p_results bytea[], p_micros integer[],
    p_state_agents text[], p_states bytea[]
) RETURNS integer[] LANGUAGE plpgsql AS $$
DECLARE
    v_new integer[];
BEGIN
    IF NOT holds_shards(p_incarnation, p_shards, p_epochs) THEN
        RETURN NULL;
    END IF;
    WITH inserted AS (
        INSERT INTO outcome (job, step, seq, generation, micros, ok, transient, agent_id, error, message, result)
        SELECT p_job, p_step, r.seq, p_generation, r.micros, r.ok, r.transient, r.agent_id, r.error, r.message, r.result
          FROM unnest(p_seqs, p_agents, p_oks, p_errors, p_messages, p_transients, p_results, p_micros)
               AS r (seq, agent_id, ok, error, message, transient, result, micros)
         ORDER BY r.seq
        ON CONFLICT DO NOTHING
        RETURNING seq
    )
    SELECT coalesce(array_agg(seq), '{}') INTO v_new FROM inserted;
    IF cardinality(p_state_agents) > 0 THEN
        WITH told AS (
            SELECT r.agent_id, bool_and(n.seq IS NOT NULL) AS fresh
              FROM unnest(p_seqs, p_agents) AS r (seq, agent_id) LEFT JOIN unnest(v_new) AS n (seq) USING (seq)
             GROUP BY r.agent_id
        )
        INSERT INTO agent_state AS a (agent_id, state)
        SELECT s.agent_id, s.state
          FROM unnest(p_state_agents, p_states) AS s (agent_id, state) JOIN told USING (agent_id)
         WHERE told.fresh ORDER BY s.agent_id
        ON CONFLICT (agent_id) DO UPDATE SET state = excluded.state;
    END IF;
    RETURN v_new;
END $$;

-- Mark a message done and save the state of its agent; false when it was done before, null when the fence refused.
CREATE FUNCTION finish_message(
    p_message_id text, p_incarnation text, p_shards integer[], p_epochs bigint[], p_agent_id text, p_state bytea
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_shard integer;
BEGIN
    SELECT m.shard INTO v_shard FROM message m WHERE m.message_id = p_message_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such message' USING ERRCODE = 'CF002';
    END IF;
    IF v_shard <> ALL (p_shards) OR NOT holds_shards(p_incarnation, p_shards, p_epochs) THEN
        RETURN NULL;
    END IF;
    INSERT INTO message_done (message_id, incarnation) VALUES (p_message_id, p_incarnation) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM message_open o WHERE o.message_id = p_message_id;
    IF p_state IS NOT NULL THEN
        INSERT INTO agent_state (agent_id, state) VALUES (p_agent_id, p_state)
        ON CONFLICT (agent_id) DO UPDATE SET state = excluded.state;
    END IF;
    RETURN true;
END $$;
