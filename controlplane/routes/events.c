/*
 * GET /events: takes the listener's wishes and hands him to the hub.
 */
#include "controlplane/routes/call.h"
#include "controlplane/routes/handlers.h"
#include "controlplane/routes/hub.h"

#define SECONDS_MAX 86400

struct wish {
    unsigned topics;
    struct ulid ids[LISTENER_IDS_MAX];
    size_t id_count;
    int64_t seconds;
    struct span last;           /* Last-Event-ID; empty: from now on */
};

static int read_topics(struct call *c, struct wish *wish)
{
    struct span list, one;

    wish->topics = (1u << TOPIC_COUNT) - 1;
    if (!request_query(c->req, "topics", &list))
        return 0;
    wish->topics = 0;
    while (span_cut(&list, ',', &one)) {
        enum topic topic = topic_find(one);

        if (topic == TOPIC_COUNT)
            return call_refuse_at(c, REASON_INVALID, "?topics", "must be topics with commas between");
        wish->topics |= 1u << topic;
    }
    return 0;
}

static int read_ids(struct call *c, struct wish *wish)
{
    struct span list, one;

    if (!request_query(c->req, "ids", &list))
        return 0;
    while (span_cut(&list, ',', &one)) {
        if (wish->id_count == LISTENER_IDS_MAX || !ulid_parse(one, &wish->ids[wish->id_count++]))
            return call_refuse_at(c, REASON_INVALID, "?ids", "must be at most 100 ids with commas between");
    }
    return 0;
}

static int read_wish(struct call *c, struct wish *wish)
{
    struct span text;
    uint64_t seconds;
    int r = read_topics(c, wish);

    if (!r)
        r = read_ids(c, wish);
    wish->seconds = -1;
    wish->last = request_header(c->req, "Last-Event-ID");
    if (r || !request_query(c->req, "seconds", &text))
        return r;
    if (!span_to_u64(text, SECONDS_MAX, &seconds))
        return call_refuse_at(c, REASON_INVALID, "?seconds", "must be a whole number from 0 to 86400");
    wish->seconds = (int64_t)seconds;
    return 0;
}

/* Which event the listener has heard last; "EPOCH-NUMBER" as we gave it. */
static int find_start(struct call *c, struct span last, struct store_position *at, int64_t *ret_number)
{
    int64_t oldest, newest;
    uint64_t epoch, number;
    struct span part;
    int r = store_position(c->tx, at);

    if (!r)
        r = store_events_bounds(c->tx, &oldest, &newest);
    if (r)
        return r;
    *ret_number = newest;
    if (!last.p)
        return 0;
    if (!span_cut(&last, '-', &part) || !last.p || !span_to_u64(part, INT64_MAX, &epoch) ||
        !span_to_u64(last, INT64_MAX, &number))
        return call_refuse(c, REASON_BAD_REQUEST, "Last-Event-ID is not an id that these events had.");
    if (epoch != at->epoch || (int64_t)number > newest || (int64_t)number + 1 < oldest)
        return call_refuse(c, REASON_EVENTS_GONE, "%s", reason_what(REASON_EVENTS_GONE));
    *ret_number = (int64_t)number;
    return 0;
}

static int refuse_full(struct call *c)
{
    c->res->problem.retry_after_s = 5;
    return call_refuse(c, REASON_OVERLOAD, "Too many listen already, all told or in your name.");
}

/* Who comes back hears at once what he missed. */
static int begin(struct call *c, struct listener *l, const struct wish *wish)
{
    AUTO(stream_unrefp) struct stream *stream = NULL;
    AUTO(buf_deinit) struct buf hello;
    char data[64];
    int r;

    buf_init_heap(&hello, 1024);
    stream = response_stream(c->req, c->res, "text/event-stream", HUB_WAITING_MAX);
    if (!stream)
        return CALL_E_ANSWERED;
    snprintf(data, sizeof(data), "{\"number\":%lld}", (long long)l->cursor);
    buf_put_str(&hello, "retry: 2000\n");
    listener_put(l, "ready", span_str(data), &hello);
    r = buf_error(&hello) ? buf_error(&hello) : stream_write(stream, buf_span(&hello));
    if (!r)
        r = hub_add(c->api->hub, l, stream, &c->req->principal, wish->seconds);
    if (!r)
        return 0;
    stream_end(stream, SPAN_NONE);
    return r == STREAM_E_FULL ? refuse_full(c) : r < 0 ? r : -EIO;
}

static int listen_to(struct call *c)
{
    struct wish wish = { .seconds = -1 };
    struct store_position at;
    struct listener listener;
    int64_t number = 0;
    int r = read_wish(c, &wish);

    if (!r)
        r = find_start(c, wish.last, &at, &number);
    if (r)
        return r;
    if (span_eq(span_str(c->req->method), SPAN("HEAD"))) {
        c->res->content_type = "text/event-stream";
        c->res->status = 200;
        return 0;
    }
    if (!hub_has_room(c->api->hub, &c->req->principal))
        return refuse_full(c);
    listener_init(&listener, wish.topics, at.epoch, number);
    memcpy(listener.ids, wish.ids, sizeof(wish.ids));
    listener.id_count = wish.id_count;
    return begin(c, &listener, &wish);
}

void on_events(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_READ, listen_to);
}
