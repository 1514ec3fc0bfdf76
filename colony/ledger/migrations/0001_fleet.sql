-- Desired agents, the leases of hosts, who owns which shard, and who leads.

CREATE TABLE agent (
    agent_id   text COLLATE "C" PRIMARY KEY,
    agent_type text COLLATE "C" NOT NULL,
    version    integer NOT NULL,
    shard      integer NOT NULL
);
CREATE INDEX agent_by_shard ON agent (shard);

-- One row; its lock also puts changes of the desired fleet in order.
CREATE TABLE fleet (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    version bigint NOT NULL
);
INSERT INTO fleet (version) VALUES (0);

CREATE TABLE lease (
    incarnation text COLLATE "C" PRIMARY KEY,
    host        text NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at  timestamptz NOT NULL,
    draining    boolean NOT NULL DEFAULT false,
    ended_at    timestamptz,
    crashed     boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);
CREATE INDEX lease_open ON lease (incarnation) WHERE ended_at IS NULL;
CREATE INDEX lease_crashed ON lease (incarnation) WHERE crashed;

-- Seeded with one row for each shard when the ledger is created.
CREATE TABLE shard_owner (
    shard       integer PRIMARY KEY,
    epoch       bigint NOT NULL DEFAULT 0,
    incarnation text COLLATE "C" NOT NULL DEFAULT '',
    host        text NOT NULL DEFAULT ''
) WITH (fillfactor = 50);
CREATE INDEX shard_owner_by_incarnation ON shard_owner (incarnation);

CREATE TABLE leader (
    name       text PRIMARY KEY,
    term       bigint NOT NULL,
    holder     text NOT NULL,
    expires_at timestamptz NOT NULL
);

-- Take shards for a live incarnation. No row comes back when its lease is not live.
-- Lease first, then shards in order: every writer of these tables keeps that order, so none waits in a circle.
CREATE FUNCTION claim_shards(p_incarnation text, p_shards integer[])
RETURNS TABLE (claimed_shard integer, claimed_epoch bigint) LANGUAGE plpgsql AS $$
DECLARE
    v_host text;
BEGIN
    SELECT l.host INTO v_host FROM lease l
     WHERE l.incarnation = p_incarnation AND l.ended_at IS NULL AND l.expires_at > clock_timestamp()
       FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no live lease' USING ERRCODE = 'CF001';
    END IF;
    PERFORM 1 FROM shard_owner o WHERE o.shard = ANY (p_shards) ORDER BY o.shard FOR UPDATE;
    RETURN QUERY
        UPDATE shard_owner o SET epoch = o.epoch + 1, incarnation = p_incarnation, host = v_host
         WHERE o.shard = ANY (p_shards) RETURNING o.shard, o.epoch;
END $$;

-- Give up those of the shards (all of them when null) that the incarnation still owns.
CREATE FUNCTION release_shards(p_incarnation text, p_shards integer[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM shard_owner o
      WHERE o.incarnation = p_incarnation AND (p_shards IS NULL OR o.shard = ANY (p_shards))
      ORDER BY o.shard FOR UPDATE;
    UPDATE shard_owner o SET epoch = o.epoch + 1, incarnation = '', host = ''
     WHERE o.incarnation = p_incarnation AND (p_shards IS NULL OR o.shard = ANY (p_shards));
END $$;

-- End a lease and free its shards; whether this call ended it.
CREATE FUNCTION end_lease(p_incarnation text, p_crashed boolean) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE lease SET ended_at = clock_timestamp(), crashed = p_crashed
     WHERE incarnation = p_incarnation AND ended_at IS NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM release_shards(p_incarnation, NULL);
    RETURN true;
END $$;

-- The fence of every write of a host: whether it owns all these shards at these epochs, kept so until the
-- transaction ends. FOR SHARE makes a claim wait for us, and us for a claim; a plain read or FOR KEY SHARE does not.
CREATE FUNCTION holds_shards(p_incarnation text, p_shards integer[], p_epochs bigint[])
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_held integer;
BEGIN
    SELECT count(*) INTO v_held FROM (
        SELECT 1 FROM shard_owner o JOIN unnest(p_shards, p_epochs) AS e (shard, epoch) ON o.shard = e.shard
         WHERE o.incarnation = p_incarnation AND o.epoch = e.epoch
         ORDER BY o.shard FOR SHARE OF o
    ) AS held;
    RETURN v_held = cardinality(p_shards);
END $$;
