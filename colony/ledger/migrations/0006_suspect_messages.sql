-- Messages whose handling kills their host are found as tasks are, and messages that failed are remembered.

-- Incarnations that have the message in flight, or had it when they ended.
ALTER TABLE message_open ADD COLUMN tried text[] COLLATE "C" NOT NULL DEFAULT '{}';

ALTER TABLE message_done ADD COLUMN error text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE message_done ADD COLUMN reason text NOT NULL DEFAULT '';
CREATE INDEX message_done_failed ON message_done (done_at) WHERE error <> '';

CREATE VIEW dead_message AS
    SELECT m.number, m.message_id, m.agent_id, m.kind, m.sender, m.payload, d.error, d.reason, d.done_at
      FROM message_done d JOIN message m USING (message_id)
     WHERE d.error <> '';

DROP FUNCTION finish_message(text, text, integer[], bigint[], text, bytea);

-- Mark a message done and save the state of its agent; false when it was done before, null when the fence refused.
CREATE FUNCTION finish_message(
    p_message_id text, p_incarnation text, p_shards integer[], p_epochs bigint[], p_agent_id text, p_state bytea,
    p_error text, p_reason text
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
    INSERT INTO message_done (message_id, incarnation, error, reason)
    VALUES (p_message_id, p_incarnation, p_error, p_reason) ON CONFLICT DO NOTHING;
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
