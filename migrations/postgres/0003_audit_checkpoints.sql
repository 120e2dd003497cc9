-- oldest: 1
-- Signed heads of the audit's chains, each naming the one before; what they say is in doc.
CREATE TABLE audit_checkpoints (
    number bigint PRIMARY KEY,
    at bigint NOT NULL,
    doc text COLLATE "C" NOT NULL,
    signature text COLLATE "C" NOT NULL
);
