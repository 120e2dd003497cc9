#include "controlplane/routes/diagnose_internal.h"
#include "controlplane/routes/view.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* --- ordering -------------------------------------------------------------------------------------- */

struct texts {                          /* what the order's lists point to */
    char resolve[ORDER_RESOLVE_MAX][ADDR_UNIX_MAX + 8], ranges[ORDER_RANGES_MAX][ADDR_TEXT_MAX];
    char *resolve_items[ORDER_RESOLVE_MAX], *range_items[ORDER_RANGES_MAX];
};

static void fill_lists(const struct policy_decision *decision, struct texts *t, struct diagnosis_order *o)
{
    const struct override_record *override = decision->override;

    o->resolve_to.items = t->resolve_items;
    o->ranges.items = t->range_items;
    if (override && override->unix_path[0]) {
        snprintf(t->resolve[0], sizeof(t->resolve[0]), "unix:%s", override->unix_path);
        t->resolve_items[o->resolve_to.count++] = t->resolve[0];
    }
    for (size_t i = 0; override && i < override->addr_count && o->resolve_to.count < ORDER_RESOLVE_MAX; i++) {
        addr_format(&override->addrs[i], t->resolve[o->resolve_to.count]);
        t->resolve_items[o->resolve_to.count] = t->resolve[o->resolve_to.count];
        o->resolve_to.count++;
    }
    for (size_t i = 0; i < decision->range_count && i < ORDER_RANGES_MAX; i++) {
        cidr_format(&decision->ranges[i], t->ranges[i]);
        t->range_items[o->ranges.count++] = t->ranges[i];
    }
}

static void copy_id(const struct record *record, char dst[ULID_LEN + 1])
{
    snprintf(dst, ULID_LEN + 1, "%s", record ? record->id : "");
}

static int put_order(const struct diagnosing *d, const struct try *t, struct json_writer *w)
{
    const struct policy_decision *decision = t->decision;
    AUTO(freep) struct texts *texts = calloc(1, sizeof(*texts));
    AUTO(buf_deinit) struct buf text = { 0 };
    struct diagnosis_order o = { .port = d->asked.port, .timeout_ms = d->asked.timeout_ms,
                                 .allow_special = decision->allow_special };

    if (!texts)
        return -ENOMEM;
    buf_init_heap(&text, ORDER_BYTES_MAX);
    snprintf(o.id, sizeof(o.id), "%s", t->id.text);
    snprintf(o.agent, sizeof(o.agent), "%s", t->agent.text);
    snprintf(o.host, sizeof(o.host), "%s", d->target.name);
    if (d->asked.has_tls)
        snprintf(o.tls_name, sizeof(o.tls_name), "%s",
                 d->asked.server_name[0] ? d->asked.server_name : d->target.name);
    (void)span_copy(span_str(d->c->req->principal.name), o.principal, sizeof(o.principal));
    copy_id(decision->grant ? &decision->grant->record : NULL, o.grant);
    copy_id(decision->profile ? &decision->profile->record : NULL, o.profile);
    fill_lists(decision, texts, &o);
    order_encode(&o, &text);
    json_put_raw(w, "order", buf_span(&text));
    return buf_error(&text);
}

static int order(const struct diagnosing *d, size_t i)
{
    const struct try *t = &d->tries[i];
    AUTO(buf_deinit) struct buf doc = { 0 };
    struct json_writer w;
    int r;

    if (t->why != REASON_NONE)
        return 0;
    buf_init_heap(&doc, ORDER_BYTES_MAX + 512);
    json_begin(&w, &doc);
    json_open_object(&w, NULL);
    json_put_text(&w, "diagnosis", d->id.text);
    json_put_int(&w, "index", (int64_t)i);
    json_put_text(&w, "relay", t->relay.text);
    json_put_int(&w, "until_ms", d->now_ms + d->asked.timeout_ms + DIAGNOSE_GRACE_MS);
    r = put_order(d, t, &w);
    json_close_object(&w);
    if (!r)
        r = buf_error(&doc);
    return r ? r : store_report_put(d->c->tx, &t->id, DIAGNOSE_TOPIC, buf_span(&doc));
}

/* --- keeping --------------------------------------------------------------------------------------- */

static void put_try(const struct try *t, struct json_writer *w)
{
    json_open_object(w, NULL);
    json_put_text(w, "agent", t->agent.text);
    json_put_text(w, "agent_name", t->agent_name);
    if (t->relay.text[0])
        json_put_text(w, "relay", t->relay.text);
    json_put_text(w, "state", t->why == REASON_NONE ? "running" : "finished");
    if (t->why != REASON_NONE) {
        json_put_text(w, "reason", reason_text(t->why));
        json_put_text(w, "detail", reason_what(t->why));
    }
    json_close_object(w);
}

static void put_question(const struct diagnosing *d, struct json_writer *w)
{
    static const struct {
        enum kind_id kind;
        const char *key, *name_key;
    } rows[] = {
        { KIND_AGENT, "agent", "agent_name" },
        { KIND_AGENT_GROUP, "agent_group", "agent_group_name" },
        { KIND_PROFILE, "destination_profile", "destination_profile_name" },
        { KIND_USER, "user", "user_name" },
    };

    json_put_text(w, "asked_by", d->c->req->principal.id);
    json_put_text(w, "asked_by_name", d->c->req->principal.name);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].kind != d->kind)
            continue;
        json_put_text(w, rows[i].key, d->subject->id.text);
        json_put_text(w, rows[i].name_key, d->subject->name);
    }
    json_put_text(w, "host", d->target.name);
    json_put_int(w, "port", d->target.port);
    json_put_bool(w, "tls", d->asked.has_tls);
    if (d->asked.has_tls)
        json_put_text(w, "server_name", d->asked.server_name[0] ? d->asked.server_name : d->target.name);
    json_put_int(w, "timeout_ms", d->asked.timeout_ms);
}

static void put_tries(const struct diagnosing *d, struct json_writer *w)
{
    enum reason first_bad = REASON_NONE;
    size_t running = 0;

    json_open_array(w, "results");
    for (size_t i = 0; i < d->try_count; i++) {
        put_try(&d->tries[i], w);
        running += d->tries[i].why == REASON_NONE;
        if (first_bad == REASON_NONE)
            first_bad = d->tries[i].why;
    }
    json_close_array(w);
    if (d->left_out)
        json_put_int(w, "left_out", (int64_t)d->left_out);
    json_put_text(w, "state", running ? "running" : "finished");
    if (running)
        return;
    json_put_text(w, "reason", reason_text(first_bad));
    view_time(w, "finished_at", d->now_ms);
}

static int keep(const struct diagnosing *d)
{
    unsigned kept = d->c->api->options.diagnostics_kept ? d->c->api->options.diagnostics_kept : 500;
    AUTO(buf_deinit) struct buf doc;
    struct json_writer w;
    int r;

    buf_init_heap(&doc, STORE_DOC_MAX);
    json_begin(&w, &doc);
    json_open_object(&w, NULL);
    put_question(d, &w);
    put_tries(d, &w);
    json_close_object(&w);
    r = buf_error(&doc);
    if (!r)
        r = store_record_put(d->c->tx, STORE_DIAGNOSTICS, &d->id, buf_span(&doc));
    for (size_t i = 0; !r && i < d->try_count; i++)
        r = order(d, i);
    return r ? r : store_records_trim(d->c->tx, STORE_DIAGNOSTICS, kept);
}

static int audit(const struct diagnosing *d)
{
    struct change change = call_change(d->c);
    AUTO(buf_deinit) struct buf after;
    struct json_writer w;

    buf_init_heap(&after, 4096);
    json_begin(&w, &after);
    json_open_object(&w, NULL);
    put_question(d, &w);
    json_close_object(&w);
    change.event.object_kind = "diagnostic";
    change.event.object_id = ulid_span(&d->id);
    change.event.after = buf_span(&after);
    change.event.outcome = "ok";
    return buf_error(&after) ? buf_error(&after) : store_audit_append(d->c->tx, &change.event, NULL);
}

int diagnosing_keep(const struct diagnosing *d)
{
    int r = keep(d);

    return r ? r : audit(d);
}
