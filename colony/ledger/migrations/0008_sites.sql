-- Watched sites: what is asked of each, what is remembered, the history by hour, alerts, and what is to be told.

CREATE TABLE monitor (
    job      bigint PRIMARY KEY REFERENCES job (job) ON DELETE CASCADE,
    settings bytea NOT NULL,
    secret   text NOT NULL,
    tick     bigint NOT NULL DEFAULT 0,
    next_seq integer NOT NULL DEFAULT 0,
    reply    bytea NOT NULL DEFAULT ''
);

-- Few rows, written again with each check: room in the page keeps updates there.
CREATE TABLE site (
    job      bigint NOT NULL REFERENCES monitor (job) ON DELETE CASCADE,
    site     text COLLATE "C" NOT NULL,
    spec     bytea NOT NULL,
    url      text NOT NULL,
    memory   bytea NOT NULL,
    due_at   double precision NOT NULL,
    paused   boolean NOT NULL DEFAULT false,
    checking integer,
    PRIMARY KEY (job, site)
) WITH (fillfactor = 50);
CREATE INDEX site_due ON site (job, due_at) WHERE NOT paused AND checking IS NULL;
CREATE INDEX site_checking ON site (job, checking) WHERE checking IS NOT NULL;

-- Checks of an hour by the bucket of their latency: counts for the uptime, a histogram for the percentiles.
CREATE TABLE site_check (
    job     bigint NOT NULL REFERENCES monitor (job) ON DELETE CASCADE,
    hour    integer NOT NULL,
    site    text COLLATE "C" NOT NULL,
    bucket  smallint NOT NULL,
    checks  integer NOT NULL,
    up      integer NOT NULL,
    seconds double precision NOT NULL,
    PRIMARY KEY (job, hour, site, bucket)
) WITH (fillfactor = 70);

CREATE TABLE alert (
    alert     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job       bigint NOT NULL REFERENCES monitor (job) ON DELETE CASCADE,
    site      text COLLATE "C" NOT NULL,
    state     text NOT NULL,
    worst     text NOT NULL,
    reason    text NOT NULL,
    opened_at double precision NOT NULL,
    closed_at double precision,
    changes   integer NOT NULL DEFAULT 1
);
CREATE UNIQUE INDEX alert_open ON alert (job, site) WHERE closed_at IS NULL;
CREATE INDEX alert_closed ON alert (job, closed_at);

CREATE TABLE site_notice (
    notice bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job    bigint NOT NULL REFERENCES monitor (job) ON DELETE CASCADE,
    site   text COLLATE "C" NOT NULL,
    kind   text NOT NULL,
    at     double precision NOT NULL,
    url    text NOT NULL,
    before text NOT NULL,
    reason text NOT NULL,
    told   boolean NOT NULL DEFAULT false,
    error  text NOT NULL DEFAULT ''
);
CREATE INDEX site_notice_open ON site_notice (job, notice) WHERE NOT told;
CREATE INDEX site_notice_told ON site_notice (job, at) WHERE told;
