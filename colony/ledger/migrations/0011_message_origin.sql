-- Durable messages remember the task they were sent for: one that is found by the sweep counts for its job too.

ALTER TABLE message ADD COLUMN origin text COLLATE "C" NOT NULL DEFAULT '';

CREATE OR REPLACE VIEW dead_message AS
    SELECT m.number, m.message_id, m.agent_id, m.kind, m.sender, m.payload, d.error, d.reason, d.done_at, m.origin
      FROM message_done d JOIN message m USING (message_id)
     WHERE d.error <> '';
