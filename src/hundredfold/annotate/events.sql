-- The record: a row an event, never changed and never removed. What stands follows from it (the views below).
CREATE TABLE events (
  number   INTEGER PRIMARY KEY,
  at       TEXT NOT NULL,                -- UTC
  reader   TEXT NOT NULL,
  kind     TEXT NOT NULL CHECK (kind IN ('answer', 'undo', 'conflict', 'aside', 'class')),
  image    TEXT,                         -- id, as in images.parquet
  round    TEXT CHECK (round IN ('first', 'second', 'final')),
  seat     TEXT,                         -- the reader in the second round, where each has an answer of his own; else ''
  says     TEXT CHECK (says IN ('label', 'unsure', 'unusable')),
  label    TEXT,                         -- id of a class
  key      TEXT,                         -- that was pressed
  how      TEXT CHECK (how IN ('single', 'bulk', 'import')),
  batch    TEXT,                         -- what was answered at one stroke
  check_up INTEGER,                      -- 1: of a batch, comes back singly
  shown    TEXT,                         -- JSON: the proposal in sight when the key was pressed; NULL: none was
  revealed TEXT,                         -- JSON: the proposal that was shown after it
  model    TEXT,                         -- hash of the model that proposed
  previous INTEGER,                      -- the event of this image, round and seat before this one
  stands   INTEGER,                      -- the answer that stands after this event; NULL: none
  detail   TEXT                          -- JSON: of a class, all there is to say of it; of a conflict, what was meant
) STRICT;

CREATE INDEX events_of_image ON events (image, round, seat, number);
CREATE TRIGGER events_never_change BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
CREATE TRIGGER events_never_go BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are never removed'); END;

CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;

-- The answer that stands of each image, round and seat.
CREATE VIEW standing AS
  SELECT head.number AS version, answer.* FROM events AS head JOIN events AS answer ON answer.number = head.stands
  WHERE head.number IN (
    SELECT max(number) FROM events WHERE kind IN ('answer', 'undo') GROUP BY image, round, seat
  );

-- The label of each image: what was decided last where readers differed, else the first reading.
CREATE VIEW labels AS
  SELECT first.image, coalesce(final.says, first.says) AS says,
         CASE WHEN final.number IS NULL THEN first.label ELSE final.label END AS label
  FROM standing AS first
  LEFT JOIN standing AS final ON final.image = first.image AND final.round = 'final'
  WHERE first.round = 'first';
