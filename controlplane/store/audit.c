#include "controlplane/store/store_internal.h"
#include "lib/base/encode.h"
#include "lib/crypto/digest.h"
#include "lib/json/json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define VERIFY_ROWS 1000        /* in memory at a time */

/*
 * hash(n) = SHA-256(hash(n-1) ‖ writer ‖ 0 ‖ seq ‖ 0 ‖ id ‖ 0 ‖ at ‖ 0 ‖ doc), texts, hex;
 * hash(0) is empty.  Whoever changes, removes or swaps an event breaks its link.
 */
struct link {
    char writer[64], hash[SHA256_HEX], prev_hash[SHA256_HEX];
    int64_t seq, at_ms;
    struct ulid id;
    struct span doc;
};

static void link_hash(const struct link *link, char ret_hash[SHA256_HEX])
{
    unsigned char digest[SHA256_LEN];
    char head[256];
    struct buf hex;
    int n;

    n = snprintf(head, sizeof(head), "%s%s%c%lld%c%s%c%lld%c", link->prev_hash, link->writer, 0,
                 (long long)link->seq, 0, link->id.text, 0, (long long)link->at_ms, 0);
    sha256_parts((struct span[]){ span_of(head, (size_t)n), link->doc }, 2, digest);
    buf_init_fixed(&hex, ret_hash, SHA256_HEX);
    hex_encode(span_of(digest, sizeof(digest)), &hex);
    ret_hash[SHA256_HEX - 1] = '\0';
}

static void put_optional(struct json_writer *w, const char *key, struct span value)
{
    if (value.n)
        json_put_str(w, key, value);
}

static void put_optional_text(struct json_writer *w, const char *key, const char *value)
{
    put_optional(w, key, span_str(value));
}

static void put_optional_json(struct json_writer *w, const char *key, struct span json)
{
    if (json.n)
        json_put_raw(w, key, json);
}

static void event_doc(const struct store_audit *event, struct buf *out)
{
    struct json_writer w;

    json_begin(&w, out);
    json_open_object(&w, NULL);
    json_open_object(&w, "actor");
    put_optional_text(&w, "kind", event->actor_kind);
    put_optional(&w, "id", event->actor_id);
    put_optional(&w, "name", event->actor_name);
    put_optional(&w, "token_id", event->token_id);
    put_optional(&w, "address", event->address);
    json_close_object(&w);
    put_optional_text(&w, "action", event->action);
    json_open_object(&w, "object");
    put_optional_text(&w, "kind", event->object_kind);
    put_optional(&w, "id", event->object_id);
    put_optional(&w, "name", event->object_name);
    json_close_object(&w);
    put_optional_json(&w, "before", event->before);
    put_optional_json(&w, "after", event->after);
    put_optional_text(&w, "outcome", event->outcome);
    put_optional_text(&w, "trace_id", event->trace_id);
    if (event->count) {
        json_put_int(&w, "count", (int64_t)event->count);
        json_put_int(&w, "first_at_ms", event->first_ms);
        json_put_int(&w, "last_at_ms", event->last_ms);
    }
    json_close_object(&w);
}

static int chain_head(struct store_tx *tx, struct link *link)
{
    AUTO(stmt_resetp) struct stmt *row = db_bind(tx, Q_audit_head, "t", link->writer);
    int r;

    r = db_step(tx, row);
    if (r == DB_ROW) {
        link->seq = column_int(row, 0);
        column_copy(row, 1, link->prev_hash, sizeof(link->prev_hash));
        r = 0;
    }
    link->seq++;
    return r;
}

int store_audit_append(struct store_tx *tx, const struct store_audit *event, struct ulid *ret_id)
{
    AUTO(buf_deinit) struct buf doc;
    struct link link = { .at_ms = (int64_t)store_now_ms(tx->store), .id = store_new_id(tx->store) };
    int r;

    buf_init_heap(&doc, 4 * STORE_DOC_MAX);
    snprintf(link.writer, sizeof(link.writer), "%s", tx->store->writer);
    event_doc(event, &doc);
    r = buf_error(&doc);
    if (!r)
        r = chain_head(tx, &link);
    if (r)
        return r;
    link.doc = buf_span(&doc);
    link_hash(&link, link.hash);
    r = db_done(tx, db_bind(tx, Q_audit_append, "tiuistt", link.writer, link.seq, &link.id,
                            link.at_ms, link.doc, link.prev_hash, link.hash), NULL);
    if (!r && ret_id)
        *ret_id = link.id;
    return r;
}

static void link_of_row(struct stmt *row, struct link *ret_link)
{
    column_copy(row, 0, ret_link->writer, sizeof(ret_link->writer));
    ret_link->seq = column_int(row, 1);
    ret_link->id = column_ulid(row, 2);
    ret_link->at_ms = column_int(row, 3);
    ret_link->doc = column_span(row, 4);
    column_copy(row, 5, ret_link->prev_hash, sizeof(ret_link->prev_hash));
    column_copy(row, 6, ret_link->hash, sizeof(ret_link->hash));
}

/* Where the chain may begin, if that is not at its first event. */
struct bases {
    const struct store_audit_head *items;
    size_t count;
};

static const struct store_audit_head *base_of(const struct bases *bases, const char *writer)
{
    for (size_t i = 0; i < bases->count; i++)
        if (strcmp(bases->items[i].writer, writer) == 0)
            return &bases->items[i];
    return NULL;
}

static bool begins(const struct bases *bases, const struct link *link)
{
    const struct store_audit_head *base = base_of(bases, link->writer);

    if (base && link->seq > 1)
        return link->seq <= base->seq;
    return link->seq == 1 && !link->prev_hash[0];
}

/* Whoever removed what was before it must have left the event itself as it was signed. */
static bool is_as_signed(const struct bases *bases, const struct link *link)
{
    const struct store_audit_head *base = base_of(bases, link->writer);

    return !base || base->seq != link->seq || strcmp(base->hash, link->hash) == 0;
}

static bool follows(const struct bases *bases, const struct link *before, const struct link *link)
{
    bool is_first = strcmp(before->writer, link->writer) != 0;
    char hash[SHA256_HEX];

    link_hash(link, hash);
    if (strcmp(link->hash, hash) != 0 || !is_as_signed(bases, link))
        return false;
    if (is_first)
        return begins(bases, link);
    return link->seq == before->seq + 1 && strcmp(link->prev_hash, before->hash) == 0;
}

/* 1: go on behind `before`; 0: that was all; -EUCLEAN: a broken link, in the report. */
static int verify_some(struct store_tx *tx, const struct bases *bases, struct link *before,
                       struct store_audit_report *report)
{
    AUTO(stmt_resetp) struct stmt *row = db_bind(tx, Q_audit_walk, "tii", before->writer, before->seq,
                                                 (int64_t)VERIFY_ROWS);
    struct link link = { .writer = "" };
    int r, rows = 0;

    while ((r = db_step(tx, row)) == DB_ROW) {
        rows++;
        link_of_row(row, &link);
        report->events++;
        report->chains += strcmp(before->writer, link.writer) != 0;
        if (!follows(bases, before, &link)) {
            report->bad_seq = (uint64_t)link.seq;
            snprintf(report->bad_writer, sizeof(report->bad_writer), "%s", link.writer);
            return -EUCLEAN;
        }
        *before = link;
    }
    return r ? r : rows == VERIFY_ROWS;
}

int store_audit_verify(struct store_tx *tx, const struct store_audit_head *bases, size_t count,
                       struct store_audit_report *ret_report)
{
    const struct bases all = { bases, count };
    struct store_audit_report report = { 0 };
    struct link before = { .writer = "" };
    int r;

    do
        r = verify_some(tx, &all, &before, &report);
    while (r == 1);
    if (!r || r == -EUCLEAN)
        *ret_report = report;
    return r;
}
