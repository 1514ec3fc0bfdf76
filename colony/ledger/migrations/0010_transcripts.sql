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
);

-- Delete some of what was said in a job; how many rows, and the size of their texts.
CREATE FUNCTION delete_transcript(p_job bigint, p_limit integer, OUT entries bigint, OUT bytes bigint)
RETURNS record LANGUAGE sql AS $$
    WITH gone AS (
        DELETE FROM transcript
         WHERE job = p_job AND ctid = ANY (ARRAY(SELECT t.ctid FROM transcript t WHERE t.job = p_job LIMIT p_limit))
        RETURNING octet_length(request) + octet_length(answer) AS size)
    SELECT count(*), coalesce(sum(size), 0)::bigint FROM gone
$$;
