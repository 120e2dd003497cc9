#include "controlplane/routes/internal_refused.h"
#include "controlplane/routes/doc.h"

static const struct {
    const char *place, *action;
} places[] = {
    { "tunnel", "relay.tunnel" }, { "http", "relay.http" },       { "https", "relay.https" },
    { "socks5", "relay.socks5" }, { "socks5s", "relay.socks5s" },
};

static const char *action_at(struct span place)
{
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        if (span_eq(place, span_str(places[i].place)))
            return places[i].action;
    return "relay.others";
}

static void put_source(struct span text, struct refusal *what, char ret_source[ADDR_TEXT_MAX])
{
    struct addr address, source;

    if (!addr_parse(text, &address))
        return;
    source = addr_source(&address);
    what->source = span_str(addr_format(&source, ret_source));
    what->event.address = text;
}

/* A relay vouches for the agent: it has seen its certificate. */
static void note_refused(struct internal *in, const struct request *req, const struct json_value *data)
{
    struct ulid agent = doc_id(data, "agent");
    char source[ADDR_TEXT_MAX];
    struct refusal what = {
        .reason = reason_find(doc_text(data, "reason")),
        .is_known = agent.text[0],
        .event = { .actor_kind = agent.text[0] ? "agent" : "anonymous",
                   .actor_id = ulid_span(&agent),
                   .action = action_at(doc_text(data, "place")),
                   .object_kind = "relay",
                   .object_id = span_str(req->principal.id),
                   .trace_id = "" },
        .count = (uint64_t)doc_int(data, "count"),
        .first_ms = doc_int(data, "first_at_ms"),
        .last_ms = doc_int(data, "last_at_ms"),
    };

    if (what.reason == REASON_COUNT || what.reason == REASON_NONE || !what.count || what.count > UINT32_MAX)
        return;                         /* of a newer relay, or nothing */
    put_source(doc_text(data, "source"), &what, source);
    refusals_note(in->refusals, &what);
}

static void note_event(struct internal *in, const struct request *req, struct span event)
{
    AUTO(json_value_freep) struct json_value *data = NULL;
    struct json_error error;
    struct span type, text;

    if (json_walk_find(event, "type", &type) || !span_eq(json_raw_str(type), SPAN(INTERNAL_REFUSED)))
        return;
    if (!json_walk_find(event, "data", &text) && !json_parse(text, &data, &error))
        note_refused(in, req, data);
}

void internal_note_refused(struct internal *in, const struct request *req, struct span events)
{
    struct span key, event;
    struct json_walk w;
    int r;

    if (!in->refusals)
        return;
    r = json_walk_begin(events, &w);
    while (!r && !(r = json_walk_next(&w, &key, &event)))
        note_event(in, req, event);
}
