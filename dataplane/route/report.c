#include "dataplane/route/report.h"
#include "lib/crypto/random.h"
#include "lib/json/json.h"
#include "lib/log/log.h"
#include "lib/net/loop.h"

#define DATA_MAX 4096
#define TARGET_TEXT_MAX 272

static const char *target_text(const struct report *r, char dst[TARGET_TEXT_MAX])
{
    bool is_v6 = span_find(span_str(r->host), ':') < span_str(r->host).n;
    struct buf out;

    buf_init_fixed(&out, dst, TARGET_TEXT_MAX);
    buf_put_str(&out, is_v6 ? "[" : "");
    buf_put_str(&out, r->host);
    buf_put_str(&out, is_v6 ? "]:" : ":");
    buf_put_decimal(&out, r->port);
    return buf_text(&out);
}

static const char *network_text(const struct report *r)
{
    return r->is_udp ? "udp" : "tcp";
}

static void put_id(struct json_writer *w, const char *key, const struct ulid *id)
{
    if (id->text[0])
        json_put_str(w, key, ulid_span(id));
}

static void put_common(struct json_writer *w, const struct report *r)
{
    char target[TARGET_TEXT_MAX], source[ADDR_TEXT_MAX];
    const struct policy_standing *s = r->standing;

    put_id(w, "user", &r->principal->user);
    if (r->principal->user_name[0])
        json_put_text(w, "user_name", r->principal->user_name);
    json_put_text(w, "source", addr_format(r->source, source));
    json_put_text(w, "target", target_text(r, target));
    json_put_text(w, "door", r->door);
    json_put_text(w, "network", network_text(r));
    if (!s)
        return;
    put_id(w, "grant", &s->grant);
    put_id(w, "profile", &s->profile);
    put_id(w, "agentgroup", &s->agentgroup);
    put_id(w, "agent", &s->agent);
    if (r->agent_name)
        json_put_text(w, "agent_name", r->agent_name);
}

static void put_tries(struct json_writer *w, const struct mux_opened *o)
{
    char text[ADDR_UNIX_MAX + 8];

    if (o->used.kind != ENDPOINT_NONE)
        json_put_text(w, "address", endpoint_format(&o->used, text, sizeof(text)));
    json_put_str(w, "resolved_by", o->resolved_by);
    json_open_array(w, "tries");
    for (size_t i = 0; i < o->try_count; i++) {
        json_open_object(w, NULL);
        json_put_text(w, "address", endpoint_format(&o->tries[i].to, text, sizeof(text)));
        json_put_int(w, "took_ms", o->tries[i].took_ms);
        json_put_text(w, "reason", reason_text(o->tries[i].result));
        json_close_object(w);
    }
    json_close_array(w);
}

static void send(struct events *e, const char *type, const struct ulid *id, struct buf *data)
{
    if (!buf_error(data))
        events_add(e, type, id, buf_span(data));
}

static void put_refusal(struct json_writer *w, const struct quota_refusal *refusal)
{
    put_id(w, "quota", &refusal->quota);
    if (refusal->wait_ms)
        json_put_int(w, "retry_after_s", (int64_t)(refusal->wait_ms + 999) / 1000);
}

void report_decision(struct events *e, const struct report *r)
{
    char mem[DATA_MAX], target[TARGET_TEXT_MAX];
    struct ulid id;
    struct json_writer w;
    struct buf data;

    if (r->reason != REASON_NONE)
        LOG(INFO, "request.refused", S("stream", r->id->text), S("user", r->principal->user_name),
            S("target", target_text(r, target)), S("door", r->door), S("network", network_text(r)),
            R("reason", r->reason), SP("detail", r->text));
    if (!e || r->reason == REASON_NONE)     /* what is allowed is told with its stream */
        return;

    buf_init_fixed(&data, mem, sizeof(mem));
    id = random_ulid(wall_ms());
    json_begin(&w, &data);
    json_open_object(&w, NULL);
    put_common(&w, r);
    json_put_text(&w, "reason", reason_text(r->reason));
    if (r->refusal)
        put_refusal(&w, r->refusal);
    json_put_str(&w, "stream", ulid_span(r->id));
    if (r->opened)
        put_tries(&w, r->opened);
    json_close_object(&w);
    send(e, "decision", &id, &data);
}

void report_opened(struct events *e, const struct report *r)
{
    char mem[DATA_MAX], target[TARGET_TEXT_MAX], address[ADDR_UNIX_MAX + 8];
    struct json_writer w;
    struct buf data;

    LOG(INFO, "stream.opened", S("stream", r->id->text), S("user", r->principal->user_name),
        S("target", target_text(r, target)), S("door", r->door), S("network", network_text(r)),
        S("agent", r->agent_name),
        S("grant", r->standing->grant.text),
        S("address", endpoint_format(&r->opened->used, address, sizeof(address))));
    if (!e)
        return;

    buf_init_fixed(&data, mem, sizeof(mem));
    json_begin(&w, &data);
    json_open_object(&w, NULL);
    put_common(&w, r);
    put_id(&w, "credential", &r->standing->credential);
    json_put_int(&w, "opened_at_ms", r->opened_ms);
    put_tries(&w, r->opened);
    json_close_object(&w);
    if (!buf_error(&data))
        events_stream_opened(e, r->id, buf_span(&data));
}

static void put_end(struct json_writer *w, const struct report *r, int64_t now_ms)
{
    json_put_int(w, "closed_at_ms", now_ms);
    json_put_int(w, "sent_bytes", (int64_t)r->sent_bytes);
    json_put_int(w, "received_bytes", (int64_t)r->received_bytes);
    if (r->is_udp) {
        json_put_int(w, "sent_datagrams", (int64_t)r->sent_datagrams);
        json_put_int(w, "received_datagrams", (int64_t)r->received_datagrams);
    }
    json_put_text(w, "reason", reason_text(r->reason));
}

static void send_closed(struct events *e, const struct report *r, int64_t now_ms)
{
    char mem[DATA_MAX];
    struct json_writer w;
    struct buf data;

    buf_init_fixed(&data, mem, sizeof(mem));
    json_begin(&w, &data);
    json_open_object(&w, NULL);
    put_end(&w, r, now_ms);
    json_close_object(&w);
    if (events_stream_passed(e, r->id, buf_span(&data)))
        return;

    buf_clear(&data);
    json_begin(&w, &data);
    json_open_object(&w, NULL);
    put_common(&w, r);
    json_put_int(&w, "opened_at_ms", r->opened_ms);
    put_end(&w, r, now_ms);
    json_close_object(&w);
    send(e, "stream.closed", r->id, &data);
}

void report_closed(struct events *e, const struct report *r)
{
    char target[TARGET_TEXT_MAX];
    int64_t now_ms = (int64_t)wall_ms();

    LOG(INFO, "stream.closed", S("stream", r->id->text), S("user", r->principal->user_name),
        S("target", target_text(r, target)), S("network", network_text(r)), R("reason", r->reason),
        U("sent_bytes", r->sent_bytes), U("received_bytes", r->received_bytes),
        U("sent_datagrams", r->sent_datagrams), U("received_datagrams", r->received_datagrams),
        N("lived_ms", now_ms - r->opened_ms));
    if (e)
        send_closed(e, r, now_ms);
}
