-- oldest: 1
-- Uses of a token are counted at each join: not by reading the answers, which are kilobytes each.

CREATE INDEX join_uses_by_time ON join_uses (token_id, at);
