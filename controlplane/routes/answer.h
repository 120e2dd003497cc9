#pragma once
#include "controlplane/routes/query.h"
#include "controlplane/routes/view.h"
/*
 * answer.h - the ends that handlers share: pages, commits with their dry twin, kept answers.
 */
/* {"items": [...], "next_cursor", "count"}: `put` writes one row with `w`. */
MUST_CHECK int answer_page(struct call *c, const struct asked *asked, store_row_fn put, void *ctx,
                           struct json_writer *w);
/* Commits what was answered; a dry run becomes {"dry_run": true, ...} with status 200. */
MUST_CHECK int answer_commit(struct call *c);
/* Keeps the answer under the Idempotency-Key, before any secret is in it. */
MUST_CHECK int answer_keep(struct call *c);
