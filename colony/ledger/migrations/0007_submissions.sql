-- Jobs that were asked for over HTTP: kept before the workflow engine hears of them, and started once it answers.

CREATE TABLE submission (
    workflow_id     text COLLATE "C" PRIMARY KEY,
    number          bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    mark            text COLLATE "C" NOT NULL,
    template        text NOT NULL,
    input           text NOT NULL,
    digest          text COLLATE "C" NOT NULL,
    idempotency_key text COLLATE "C" UNIQUE,
    state           text NOT NULL DEFAULT 'accepted',
    key             text NOT NULL DEFAULT '',
    error           text NOT NULL DEFAULT '',
    reason          text NOT NULL DEFAULT '',
    accepted_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    settled_at      timestamptz
);
CREATE INDEX submission_open ON submission (number) WHERE state = 'accepted';
CREATE INDEX submission_settled ON submission (settled_at) WHERE settled_at IS NOT NULL;
