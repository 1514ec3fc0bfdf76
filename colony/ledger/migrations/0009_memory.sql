-- What agents remember. The table needs the extension `vector` (pgvector), which not every Postgres has: without it
-- the ledger works, and memory says that it is not there.

-- Make the table if it can be made; whether it is there. Called after every migration, so that an extension that comes
-- later is used at the next start. Creating the extension is for its superuser (or the owner of the database, where the
-- extension is trusted): failing to is no error.
CREATE FUNCTION prepare_memory() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF to_regclass('memory') IS NOT NULL THEN
        RETURN true;
    END IF;
    IF NOT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'vector') THEN
        IF NOT EXISTS (SELECT 1 FROM pg_available_extensions WHERE name = 'vector') THEN
            RETURN false;
        END IF;
        CREATE EXTENSION vector;
    END IF;
    CREATE TABLE memory (
        memory     bytea PRIMARY KEY,
        scope_kind text COLLATE "C" NOT NULL,
        scope_name text COLLATE "C" NOT NULL,
        embedder   text COLLATE "C" NOT NULL,
        dimensions integer NOT NULL,
        label      text COLLATE "C" NOT NULL,
        agent_id   text COLLATE "C" NOT NULL,
        added_at   timestamptz NOT NULL,
        used_at    timestamptz NOT NULL,
        embedding  vector NOT NULL,
        text       text NOT NULL,
        data       bytea NOT NULL
    ) WITH (fillfactor = 85);
    -- A search reads every vector of its scope: they stay in the row, long texts go out of it.
    ALTER TABLE memory ALTER COLUMN embedding SET STORAGE MAIN;
    CREATE INDEX memory_by_scope ON memory (scope_kind, scope_name, embedder, dimensions);
    CREATE INDEX memory_by_age ON memory (added_at);
    RETURN true;
EXCEPTION
    -- No right to create it, or a `vector` in a schema that is not searched.
    WHEN insufficient_privilege OR undefined_object OR feature_not_supported OR undefined_file THEN
        RETURN false;
END $$;

-- Add entries to a scope, then forget what is beyond its bounds; how many were new. One writer of a scope at a time:
-- so its bound holds, and no two wait for each other. A full scope is trimmed once it is a twentieth above its bound,
-- not at each call.
CREATE FUNCTION put_memories(
    p_kind text, p_name text, p_embedder text, p_dimensions integer,
    p_ids bytea[], p_labels text[], p_agents text[], p_texts text[], p_data bytea[], p_vectors text[],
    p_entries integer, p_least_used boolean, p_age double precision
) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    v_fresh integer;
    v_held bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(4851002, hashtext(p_kind || ':' || p_name));
    WITH put AS (
        INSERT INTO memory AS m (memory, scope_kind, scope_name, embedder, dimensions, label, agent_id,
                                 added_at, used_at, embedding, text, data)
        SELECT r.id, p_kind, p_name, p_embedder, p_dimensions, r.label, r.agent_id,
               clock_timestamp(), clock_timestamp(), r.vector::vector, r.text, r.data
          FROM unnest(p_ids, p_labels, p_agents, p_texts, p_data, p_vectors) WITH ORDINALITY
               AS r (id, label, agent_id, text, data, vector, place)
         ORDER BY r.place
        ON CONFLICT (memory) DO UPDATE SET
               embedder = excluded.embedder, dimensions = excluded.dimensions, label = excluded.label,
               agent_id = excluded.agent_id, added_at = excluded.added_at, used_at = excluded.used_at,
               embedding = excluded.embedding, text = excluded.text, data = excluded.data
        RETURNING m.xmax = 0 AS fresh
    )
    SELECT count(*) FILTER (WHERE put.fresh) INTO v_fresh FROM put;
    IF p_age IS NOT NULL THEN
        DELETE FROM memory m WHERE m.scope_kind = p_kind AND m.scope_name = p_name
           AND m.added_at <= clock_timestamp() - make_interval(secs => p_age);
    END IF;
    SELECT count(*) INTO v_held FROM memory m WHERE m.scope_kind = p_kind AND m.scope_name = p_name;
    IF v_held > p_entries + p_entries / 20 THEN
        DELETE FROM memory WHERE memory.memory = ANY (ARRAY(
            SELECT m.memory FROM memory m WHERE m.scope_kind = p_kind AND m.scope_name = p_name
             ORDER BY CASE WHEN p_least_used THEN m.used_at ELSE m.added_at END, m.memory
             LIMIT v_held - p_entries));
    END IF;
    RETURN v_fresh;
END $$;
