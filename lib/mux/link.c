#include "lib/mux/hop.h"
#include <errno.h>
#include <string.h>

#define IDS_MAX 0xffffffffu
#define JITTER_ONE 1024
#define STALLED_MS 1000     /* a tick that late says that we slept, not the peer */

/* --- birth and death ------------------------------------------------------------------ */
static void lists_init(struct mux_link *l)
{
    list_init(&l->items);
    list_init(&l->refusals);
    list_init(&l->owing);
    list_init(&l->lazy);
    list_init(&l->quick);
    list_init(&l->busy);
    list_init(&l->resetting);
}

struct mux_link *mux_link_new(struct mux *m, void *user, uint64_t now_ms)
{
    return mux_link_new_as(m, m->config.is_accepting, user, now_ms);
}

struct mux_link *mux_link_new_as(struct mux *m, bool is_accepting, void *user, uint64_t now_ms)
{
    struct mux_link *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    mux_enter(m, now_ms);
    l->mux = m;
    l->user = user;
    l->state = MUX_LINK_GREETING;
    l->is_accepting = is_accepting;
    l->next_id = is_accepting ? 2 : 1;
    l->data_max = FRAME_DATA_MAX;
    l->greet_until_ms = m->now_ms + m->config.hello_timeout_ms;
    l->idle_frames = (struct bucket){ MUX_IDLE_FRAMES_MAX, m->now_ms };
    l->pings = (struct bucket){ MUX_PINGS_MAX, m->now_ms };
    l->strange = (struct bucket){ HOP_STRANGE_MAX, m->now_ms };
    proof_begin(l);
    map_init(&l->by_id, SIZE_MAX);      /* of streams and hops, each bounded in its own place */
    map_init(&l->owners, SIZE_MAX);
    buf_init_heap(&l->notice, FRAME_NOTICE_TOTAL_MAX);
    lists_init(l);
    list_append(&m->links, &l->node);
    m->stats.links++;
    mux_leave(m);
    return l;
}

static void lose_streams(struct mux_link *l)
{
    struct map_cursor cursor = { 0 };
    struct map_node *node;

    while ((node = map_next(&l->by_id, &cursor))) {
        struct leg *g = container_of(node, struct leg, by_id);

        leg_class(g)->lost(g);
    }
}

static void drop_items(struct mux_link *l)
{
    struct list *node;

    while ((node = list_first(&l->items)))
        link_item_free(l, container_of(node, struct link_item, node));
    while ((node = list_first(&l->refusals))) {
        list_remove(node);
        free(container_of(node, struct refusal, node));
    }
    l->refusal_count = 0;
}

void link_destroy(struct mux_link *l)
{
    drop_items(l);
    free(l->cut);
    buf_deinit(&l->notice);
    map_deinit(&l->by_id);
    map_deinit(&l->owners);
    free(l);
}

void mux_link_free(struct mux_link *l)
{
    struct mux *m;

    if (!l || l->is_freed)
        return;
    m = l->mux;
    mux_enter(m, m->now_ms);
    l->is_freed = true;
    l->state = MUX_LINK_CLOSED;
    list_remove(&l->node);
    list_append(&m->dead_links, &l->node);
    m->stats.links--;
    lose_streams(l);
    mux_leave(m);
}

enum mux_link_state mux_link_state(const struct mux_link *l)
{
    return l->state;
}

uint32_t mux_link_stream_count(const struct mux_link *l)
{
    return (uint32_t)l->by_id.count;
}

void mux_link_set_rate(struct mux_link *l, uint64_t bytes_per_s)
{
    l->rate = bytes_per_s;
}

void mux_link_between_relays(struct mux_link *l)
{
    l->is_between = true;
}

void mux_link_large_data(struct mux_link *l)
{
    l->data_max = FRAME_DATA_LARGE;
}

bool link_has_streams_out(const struct mux_link *l)
{
    return l->state == MUX_LINK_OPEN || l->state == MUX_LINK_DRAINING;
}

/* --- waking the carrier --------------------------------------------------------------- */
bool mux_link_has_output(const struct mux_link *l)
{
    if (!list_is_empty(&l->items) || !list_is_empty(&l->mux->tell))
        return true;
    return link_has_streams_out(l) &&
           (l->is_pong_owed || l->is_ping_owed || !list_is_empty(&l->refusals) ||
            !list_is_empty(&l->owing) || !list_is_empty(&l->quick) ||
            !list_is_empty(&l->busy));
}

void link_wake(struct mux_link *l)
{
    if (l->is_producing || l->is_freed)
        return;
    if (l->mux->on.on_want_send)
        l->mux->on.on_want_send(l->user, l);
}

/* --- items: HELLO, NOTICE, GOAWAY ------------------------------------------------------ */
int link_item_add(struct mux_link *l, uint8_t type, uint8_t kind, uint64_t revision,
                  struct span body)
{
    struct link_item *item = malloc(sizeof(*item) + body.n);

    if (!item)
        return -ENOMEM;
    *item = (struct link_item){ .type = type, .kind = kind, .revision = revision,
                                .len = (uint32_t)body.n };
    if (body.n)
        memcpy(item->body, body.p, body.n);
    list_append(&l->items, &item->node);
    l->items_bytes += body.n;
    link_wake(l);
    return 0;
}

void link_item_free(struct mux_link *l, struct link_item *item)
{
    l->items_bytes -= item->len;
    list_remove(&item->node);
    free(item);
}

int mux_link_hello(struct mux_link *l, struct span json)
{
    int r;

    if (l->is_hello_sent || (!l->is_accepting && !l->is_hello_seen))
        return REASON_NOT_READY;
    if (json.n > FRAME_PAYLOAD_MAX)
        return REASON_TOO_LARGE;

    r = link_item_add(l, FRAME_HELLO, 0, 0, json);
    if (r)
        return r;
    l->is_hello_sent = true;
    l->greet_until_ms = l->mux->now_ms + l->mux->config.hello_timeout_ms;
    return 0;
}

int mux_link_notice(struct mux_link *l, uint8_t kind, uint64_t revision, struct span body)
{
    if (l->state == MUX_LINK_CLOSED || !l->is_hello_seen)
        return REASON_NOT_READY;
    if (body.n > FRAME_NOTICE_TOTAL_MAX)
        return REASON_TOO_LARGE;
    if (l->items_bytes + body.n > MUX_NOTICE_QUEUE_MAX)
        return REASON_OVERLOAD;
    return link_item_add(l, FRAME_NOTICE, kind, revision, body);
}

static void goaway_add(struct mux_link *l, const struct mux_goaway *goaway)
{
    unsigned char mem[GOAWAY_LEN_MAX];
    struct buf b;

    buf_init_fixed(&b, mem, sizeof(mem));
    goaway_encode(&b, goaway);
    if (buf_error(&b) || link_item_add(l, FRAME_GOAWAY, 0, 0, buf_span(&b)))
        return;     /* no memory to say it: the peer sees the link end */
}

void mux_link_goaway(struct mux_link *l, const struct mux_goaway *goaway)
{
    if (l->state == MUX_LINK_CLOSED)
        return;
    goaway_add(l, goaway);
    l->is_worn |= goaway->why == REASON_LINK_RENEW;
    if (l->state != MUX_LINK_GREETING) {
        l->state = MUX_LINK_DRAINING;
        return;
    }
    l->state = MUX_LINK_CLOSED;         /* refused */
    l->why = goaway->why;
}

/* Its ids are used up: a new link takes its place. */
void link_renew(struct mux_link *l)
{
    mux_link_goaway(l, &(struct mux_goaway){ .why = REASON_LINK_RENEW });
}

void mux_link_detach(struct mux_link *l, enum reason why)
{
    struct map_cursor cursor = { 0 };
    struct map_node *node;

    while (link_has_streams_out(l) && (node = map_next(&l->by_id, &cursor))) {
        struct leg *g = container_of(node, struct leg, by_id);

        leg_class(g)->leave(g, why);
    }
}

void link_fail(struct mux_link *l, enum reason why, const char *text)
{
    if (l->state == MUX_LINK_CLOSED)
        return;
    l->state = MUX_LINK_CLOSED;
    l->why = why;
    l->is_ping_owed = l->is_pong_owed = false;
    if (why == REASON_PROTOCOL_ERROR)
        l->mux->stats.protocol_errors++;
    drop_items(l);
    goaway_add(l, &(struct mux_goaway){ .why = why, .text = span_str(text) });
    lose_streams(l);
    if (l->mux->on.on_failed)
        l->mux->on.on_failed(l->user, l, why, text);
}

/* --- floods --------------------------------------------------------------------------- */
bool bucket_take(struct bucket *b, uint32_t max, uint32_t per_s, uint64_t now_ms)
{
    uint64_t fresh = (now_ms - b->filled_ms) * per_s / 1000;

    if (fresh) {
        b->filled_ms = now_ms;
        b->left = fresh > max - b->left ? max : b->left + (uint32_t)fresh;
    }
    if (b->left == 0)
        return false;
    b->left--;
    return true;
}

void link_idle_frame(struct mux_link *l)
{
    if (!bucket_take(&l->idle_frames, MUX_IDLE_FRAMES_MAX, MUX_IDLE_FRAMES_PER_S,
                     l->mux->now_ms))
        link_fail(l, REASON_PROTOCOL_ERROR, "flood of frames that move nothing");
}

void link_stream_fault(struct mux_link *l)
{
    if (++l->stream_faults > MUX_STREAM_FAULTS_MAX)
        link_fail(l, REASON_PROTOCOL_ERROR, "too many streams with faults");
}

/* What may still be under way for an id that is over. */
void link_idle_allow(struct mux_link *l)
{
    l->idle_frames.left += MUX_IDLE_FRAMES_PER_END;
    if (l->idle_frames.left > MUX_IDLE_FRAMES_MAX)
        l->idle_frames.left = MUX_IDLE_FRAMES_MAX;
}

void link_refuse(struct mux_link *l, uint8_t type, uint32_t id, enum reason why,
                 uint32_t retry_ms)
{
    struct refusal *refusal = NULL;
    uint32_t more = type == FRAME_DETACH ? l->mux->config.streams_max : 0;  /* all may leave at once */

    if (l->refusal_count < (uint64_t)MUX_REFUSALS_MAX + more)
        refusal = malloc(sizeof(*refusal));
    if (!refusal) {
        link_fail(l, REASON_OVERLOAD, "flood of streams to refuse");
        return;
    }
    *refusal = (struct refusal){ .id = id, .retry_ms = retry_ms, .reason = why, .type = type };
    list_append(&l->refusals, &refusal->node);
    l->refusal_count++;
    if (why == REASON_OVERLOAD && type == FRAME_OPEN_ERR)
        l->mux->stats.overload_refusals++;
    link_wake(l);
}

/* --- time ----------------------------------------------------------------------------- */
static void ping_now(struct mux_link *l)
{
    l->is_ping_owed = true;
    l->is_pong_seen = false;
    l->ping_value++;
    l->ping_sent_ms = l->mux->now_ms;
    l->ping_jitter = (uint32_t)mux_jittered(l->mux, JITTER_ONE);
    if (!l->silent_since_ms)
        l->silent_since_ms = l->mux->now_ms;
    link_wake(l);
}

void link_opened(struct mux_link *l)
{
    l->state = MUX_LINK_OPEN;
    l->greet_until_ms = 0;
    l->used_ms = l->heard_ms = l->probe_due_ms = l->mux->now_ms;
    move_link_opened(l->mux);
    l->ping_sent_ms = l->mux->now_ms;
    l->ping_jitter = (uint32_t)mux_jittered(l->mux, JITTER_ONE);
}

void mux_link_accept(struct mux_link *l, uint64_t now_ms)
{
    if (l->state != MUX_LINK_GREETING || !l->is_hello_seen || !l->is_hello_sent)
        return;
    mux_enter(l->mux, now_ms);
    link_opened(l);
    ping_now(l);
    mux_leave(l->mux);
}

static uint64_t ping_due(const struct mux_link *l)
{
    uint64_t interval = link_is_busy(l) ? MUX_PING_BUSY_MS : MUX_PING_REST_MS;

    return l->ping_sent_ms + interval * l->ping_jitter / JITTER_ONE;
}

void link_arm_credit(struct mux_link *l)
{
    if (l->credit_due_ms)
        return;
    l->credit_due_ms = l->mux->now_ms + MUX_CREDIT_TICK_MS;
    if (l->credit_due_ms < l->tick_due_ms)
        link_wake(l);
}

static void credit_tick(struct mux_link *l)
{
    struct list *node;

    l->credit_due_ms = 0;
    while ((node = list_first(&l->lazy)))
        stream_owe(container_of(node, struct mux_stream, leg.owing), OWE_CREDIT);
}

static uint64_t settle_due(const struct mux_link *l)
{
    const struct list *node = list_first(&l->resetting);
    uint32_t age;

    if (!node)
        return UINT64_MAX;
    age = (uint32_t)l->mux->now_ms - container_of(node, struct mux_stream, starved)->rx_last_ms;
    return age < MUX_SETTLE_MS ? l->mux->now_ms + MUX_SETTLE_MS - age : l->mux->now_ms;
}

static void say_now(struct mux_stream *s)
{
    stream_reset_now(s);
    s->rx_last_ms = (uint32_t)s->mux->now_ms;
    list_remove(&s->starved);
    list_append(&s->link->resetting, &s->starved);
}

/* The peer need not play along: what it says of them later is late.  It has to hear of each. */
static void forget_resets(struct mux_link *l)
{
    while (settle_due(l) <= l->mux->now_ms) {
        struct mux_stream *s = container_of(list_first(&l->resetting), struct mux_stream, starved);

        if (s->owed & OWE_RESET && !s->is_reset_now)
            say_now(s);
        else
            stream_settle(s);
    }
}

/* What the peer said meanwhile has not been read yet. */
static void we_slept(struct mux_link *l)
{
    uint64_t now = l->mux->now_ms;

    if (l->silent_since_ms)
        l->silent_since_ms = now;
    if (l->probe_until_ms)
        l->probe_until_ms = now + probe_wait_ms(l->mux);
    proof_slept(l);
}

static void tick_open(struct mux_link *l, uint64_t now)
{
    if (l->tick_due_ms && now > l->tick_due_ms + STALLED_MS)
        we_slept(l);
    if (l->silent_since_ms && now - l->silent_since_ms >= MUX_SILENCE_MS) {
        link_fail(l, REASON_SESSION_LOST, "silent after a PING");
        return;
    }
    if (now >= ping_due(l))
        ping_now(l);
    if (l->credit_due_ms && now >= l->credit_due_ms)
        credit_tick(l);
    proof_tick(l);
    probe_tick(l);
    forget_resets(l);
    if (l->mux->config.holder)
        holder_tick(l->mux->config.holder, now);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t next_due(const struct mux_link *l)
{
    uint64_t due = UINT64_MAX;

    if (l->state == MUX_LINK_CLOSED)
        return due;
    if (l->state == MUX_LINK_GREETING)
        return l->greet_until_ms;
    due = earlier(ping_due(l), l->mux->waiting_due_ms);
    if (l->silent_since_ms)
        due = earlier(due, l->silent_since_ms + MUX_SILENCE_MS);
    if (l->credit_due_ms)
        due = earlier(due, l->credit_due_ms);
    due = earlier(due, earlier(probe_due(l), proof_due(l)));
    if (l->mux->config.holder)
        due = earlier(due, holder_due(l->mux->config.holder));
    return earlier(due, settle_due(l));
}

uint64_t mux_link_tick(struct mux_link *l, uint64_t now_ms)
{
    struct mux *m = l->mux;
    uint64_t due;

    mux_enter(m, now_ms);
    if (l->state == MUX_LINK_GREETING && m->now_ms >= l->greet_until_ms)
        link_fail(l, REASON_HELLO_TIMEOUT, "no HELLO, or no answer to it, in time");
    if (link_has_streams_out(l))
        tick_open(l, m->now_ms);
    move_tick(m);
    due = l->is_freed ? UINT64_MAX : next_due(l);
    l->tick_due_ms = due;
    mux_leave(m);
    return due;
}
