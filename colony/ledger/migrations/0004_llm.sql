-- The books of the gateway: what was called, which job started which, and answers kept for equal requests.

-- One row a request, none of its text. The end is part of the key: clients choose request ids, and may choose badly;
-- a batch that is written again after a time-out has the same ends.
CREATE TABLE llm_call (
    ended_at          timestamptz NOT NULL,
    queued            double precision NOT NULL,
    first             double precision NOT NULL,
    seconds           double precision NOT NULL,
    prompt_tokens     integer NOT NULL,
    completion_tokens integer NOT NULL,
    request_id        text COLLATE "C" NOT NULL,
    agent             text COLLATE "C" NOT NULL,
    agent_type        text COLLATE "C" NOT NULL,
    job               text COLLATE "C" NOT NULL,
    kind              text COLLATE "C" NOT NULL,
    backend           text COLLATE "C" NOT NULL,
    model             text COLLATE "C" NOT NULL,
    tier              text COLLATE "C" NOT NULL,
    cache             text COLLATE "C" NOT NULL,
    outcome           text COLLATE "C" NOT NULL,
    PRIMARY KEY (ended_at, request_id)
);
CREATE INDEX llm_call_by_job ON llm_call (job) INCLUDE (prompt_tokens, completion_tokens) WHERE job <> '';

-- Jobs with a budget of their own, or started by another job. Key of the job, not its number: a budget may be set
-- before the job is opened, and the gateway serves jobs that are none of the ledger's.
CREATE TABLE llm_job (
    job    text COLLATE "C" PRIMARY KEY,
    parent text COLLATE "C" NOT NULL DEFAULT '',
    tokens bigint
);
CREATE INDEX llm_job_by_parent ON llm_job (parent) WHERE parent <> '';

CREATE TABLE llm_cache (
    key               bytea PRIMARY KEY,
    put_at            timestamptz NOT NULL,
    prompt_tokens     integer NOT NULL,
    completion_tokens integer NOT NULL,
    model             text NOT NULL,
    answer            bytea NOT NULL
);
CREATE INDEX llm_cache_by_age ON llm_cache (put_at);

-- A job and all it started, and what those started. UNION ends circles.
CREATE FUNCTION llm_jobs_of(p_job text) RETURNS TABLE (job text) LANGUAGE sql STABLE AS $$
    WITH RECURSIVE tree (job) AS (
        SELECT p_job COLLATE "C"
        UNION
        SELECT c.job FROM llm_job c JOIN tree t ON c.parent = t.job WHERE c.parent <> ''
    )
    SELECT tree.job FROM tree
$$;

-- Tokens used by a job and all it started.
CREATE FUNCTION llm_tokens_of(p_job text) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(c.prompt_tokens::bigint + c.completion_tokens), 0)::bigint
      FROM llm_call c JOIN llm_jobs_of(p_job) j ON c.job = j.job
     WHERE c.job <> ''
$$;
