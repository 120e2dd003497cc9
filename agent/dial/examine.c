#include "agent/dial/examine.h"
#include "agent/look/look.h"
#include "lib/log/log.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define READ_BYTES 16384

/* What the pool's thread works on; whoever is last frees it. */
struct judging {
    struct look *look;
    struct diagnosis *found;
    struct examination *of;             /* NULL: nobody waits any more */
};

struct examination {
    struct loop *loop;
    struct mux_stream *stream;
    struct loop_timer deadline;
    uint64_t until_ms;                  /* resolving and connecting know their time */
    uint64_t step_at_ms;                /* when the present step began */
    char tls_name[DIAGNOSIS_TEXT_MAX + 1];
    struct diagnosis *found;            /* NULL: with the pool, or said */
    struct judging *judging;
    struct conn *conn;
    struct look *look;
    struct buf answer;                  /* empty: not yet */
    size_t sent;
    bool is_over;
};

/* --- the answer -------------------------------------------------------------------------------- */

static void push(struct examination *e)
{
    while (e->sent < e->answer.len) {
        size_t room, left = e->answer.len - e->sent;
        unsigned char *dst = mux_stream_reserve(e->stream, &room);

        if (!dst)
            return;
        room = room < left ? room : left;
        memcpy(dst, (const char *)e->answer.data + e->sent, room);
        mux_stream_commit(e->stream, room);
        e->sent += room;
    }
    if (e->answer.len)
        mux_stream_fin(e->stream);
    buf_deinit(&e->answer);
    e->sent = 0;
}

static int encode(const struct diagnosis *d, struct buf *out)
{
    struct json_writer w;

    json_begin(&w, out);
    diagnosis_encode(d, &w, NULL);
    return buf_error(out);
}

/* Certificates with very long names: the rest counts more. */
static int write_answer(struct examination *e)
{
    struct diagnosis *d = e->found;
    int r;

    buf_init_heap(&e->answer, DIAGNOSIS_BYTES_MAX);
    r = encode(d, &e->answer);
    if (r != -ENOBUFS || !d->certificate_count)
        return r;
    d->certificates_left_out += d->certificate_count;
    d->certificate_count = 0;
    buf_deinit(&e->answer);
    buf_init_heap(&e->answer, DIAGNOSIS_BYTES_MAX);
    return encode(d, &e->answer);
}

static void stop(struct examination *e)
{
    timer_stop(&e->deadline);
    if (e->conn)
        conn_close(TAKE(e->conn));
    if (e->look)
        look_free(TAKE(e->look));
    if (e->judging)
        TAKE(e->judging)->of = NULL;
}

static void finish(struct examination *e)
{
    struct diagnosis *d = e->found;
    const struct diagnosis_outcome *last = &d->step[d->steps ? d->steps - 1 : 0];

    e->is_over = true;
    stop(e);
    d->reason = last->reason;
    memcpy(d->detail, last->detail, sizeof(d->detail));
    LOG(INFO, "diagnose.done", S("step", diagnosis_step_name(d->steps ? d->steps - 1 : 0)), R("reason", d->reason),
        S("detail", d->detail));
    if (write_answer(e))
        mux_stream_reset(e->stream, REASON_OVERLOAD, SPAN("out of memory"), true);
    else
        push(e);
    free(TAKE(e->found));
}

/* --- steps ------------------------------------------------------------------------------------- */

static struct diagnosis_outcome *begin_step(struct examination *e, enum diagnosis_step step)
{
    e->found->steps = step + 1;
    e->step_at_ms = loop_now_ms(e->loop);
    return &e->found->step[step];
}

static void end_step(struct examination *e, enum reason why, const char *text)
{
    struct diagnosis_outcome *outcome = &e->found->step[e->found->steps - 1];

    outcome->reason = why;
    outcome->took_ms = (uint32_t)(loop_now_ms(e->loop) - e->step_at_ms);
    diagnosis_text(outcome->detail, sizeof(outcome->detail), span_str(text));
}

void examine_resolved(struct examination *e, const char *by, const struct endpoint *server)
{
    struct diagnosis *d = e->found;
    char at[ADDR_TEXT_MAX];

    if (!d)
        return;
    d->address_count = d->addresses_left_out = 0;
    snprintf(d->resolved_by, sizeof(d->resolved_by), "%s", by ? by : "");
    snprintf(d->server, sizeof(d->server), "%s",
             server->kind == ENDPOINT_NONE ? "" : endpoint_format(server, at, sizeof(at)));
    if (d->steps > 1)
        return;                         /* the other family, while the first is being tried */
    end_step(e, REASON_NONE, NULL);
    begin_step(e, DIAGNOSIS_CONNECT);
}

void examine_address(struct examination *e, const struct addr *addr, enum reason verdict)
{
    struct diagnosis *d = e->found;
    struct diagnosis_place *place;

    if (!d)
        return;
    if (d->address_count == DIAGNOSIS_ADDRESSES_MAX) {
        d->addresses_left_out++;
        return;
    }
    place = &d->addresses[d->address_count++];
    *place = (struct diagnosis_place){ .reason = verdict };
    addr_format(addr, place->at);
}

static void note_tries(struct diagnosis *d, const struct mux_opened *opened)
{
    _Static_assert(DIAGNOSIS_TRIES_MAX >= MUX_TRIES_MAX, "each has its place");

    d->try_count = opened->try_count;
    for (size_t i = 0; i < opened->try_count; i++) {
        struct diagnosis_place *place = &d->tries[i];

        *place = (struct diagnosis_place){ .took_ms = opened->tries[i].took_ms, .reason = opened->tries[i].result };
        endpoint_format(&opened->tries[i].to, place->at, sizeof(place->at));
    }
}

void examine_fail(struct examination *e, enum reason why, const char *text, const struct mux_opened *tried)
{
    if (!e->found) {                    /* the pool has it, or all is said */
        if (!e->is_over) {
            e->is_over = true;
            stop(e);
            mux_stream_reset(e->stream, why, span_str(text), true);
        }
        return;
    }
    if (tried)
        note_tries(e->found, tried);
    end_step(e, why, text);
    finish(e);
}

static void on_deadline(void *arg)
{
    examine_fail(arg, REASON_DIAL_TIMEOUT, "the target did not finish the handshake in time", NULL);
}

/* --- TLS --------------------------------------------------------------------------------------- */

static void judge(void *arg)
{
    struct judging *j = arg;

    look_judge(j->look, j->found);
}

static void on_judged(void *arg)
{
    struct judging *j = arg;
    struct examination *e = j->of;

    if (e) {
        e->judging = NULL;
        e->found = TAKE(j->found);
        finish(e);
    }
    look_free(j->look);
    free(j->found);
    free(j);
}

/* The handshake is over, well or not: its time counts up to here. */
static void hand_over(struct examination *e)
{
    struct judging *j = calloc(1, sizeof(*j));

    end_step(e, REASON_NONE, NULL);
    timer_stop(&e->deadline);
    conn_close(TAKE(e->conn));
    if (j)
        *j = (struct judging){ e->look, e->found, e };
    if (!j || loop_work(e->loop, judge, on_judged, j)) {
        free(j);
        examine_fail(e, REASON_OVERLOAD, "the agent is too busy", NULL);
        return;
    }
    e->look = NULL;
    e->found = NULL;
    e->judging = j;
}

/* Small flights, into an empty socket: what does not fit would never. */
static bool send_flight(struct examination *e, const struct buf *out)
{
    return !buf_error(out) && (!out->len || conn_write(e->conn, out->data, out->len) == (ssize_t)out->len);
}

static void step_tls(struct examination *e, struct span in)
{
    AUTO(buf_deinit) struct buf out;
    enum look_state state;
    bool is_sent;

    buf_init_heap(&out, LOOK_OUT_MAX);
    state = look_step(e->look, in, &out);
    is_sent = send_flight(e, &out);
    if (state == LOOK_GOES_ON && !is_sent)
        examine_fail(e, REASON_TLS_FAILED, "the target takes nothing", NULL);
    else if (state != LOOK_GOES_ON)
        hand_over(e);
}

static void on_conn_readable(void *user)
{
    struct examination *e = user;
    char bytes[READ_BYTES];
    ssize_t n = conn_read(e->conn, bytes, sizeof(bytes));

    if (n > 0)
        step_tls(e, span_of(bytes, (size_t)n));
    else if (n == 0)
        examine_fail(e, REASON_TLS_FAILED, "the target closed the connection", NULL);
    else if (n != -EAGAIN)
        examine_fail(e, REASON_TLS_FAILED, "the connection was reset", NULL);
}

static const struct conn_handlers handlers = { .on_readable = on_conn_readable };

static void begin_tls(struct examination *e)
{
    uint64_t now_ms = loop_now_ms(e->loop);
    int r = look_new(e->tls_name, &e->look);

    timer_start(e->loop, &e->deadline, e->until_ms > now_ms ? e->until_ms - now_ms : 1, on_deadline, e);
    begin_step(e, DIAGNOSIS_TLS);
    snprintf(e->found->server_name, sizeof(e->found->server_name), "%s", e->tls_name);
    if (r) {
        examine_fail(e, REASON_OVERLOAD, "out of memory", NULL);
        return;
    }
    conn_set_handlers(e->conn, &handlers, e);
    conn_want(e->conn, CONN_READ);
    step_tls(e, SPAN_NONE);
}

void examine_connected(struct examination *e, struct conn *conn, const struct mux_opened *opened)
{
    if (e->is_over || !e->found) {
        conn_free(conn);
        return;
    }
    e->conn = conn;
    endpoint_format(&opened->used, e->found->used, sizeof(e->found->used));
    note_tries(e->found, opened);
    end_step(e, REASON_NONE, NULL);
    if (e->tls_name[0])
        begin_tls(e);
    else
        finish(e);
}

/* --- life -------------------------------------------------------------------------------------- */

int examine_new(struct loop *l, struct mux_stream *stream, struct span tls_name, uint32_t within_ms,
                struct examination **ret_examination)
{
    struct examination *e = calloc(1, sizeof(*e));
    struct diagnosis *found = calloc(1, sizeof(*found));

    if (!e || !found || !span_copy(tls_name, e->tls_name, sizeof(e->tls_name))) {
        free(e);
        free(found);
        return e && found ? -EINVAL : -ENOMEM;
    }
    e->loop = l;
    e->stream = stream;
    e->found = found;
    begin_step(e, DIAGNOSIS_RESOLVE);
    e->until_ms = loop_now_ms(l) + within_ms;
    *ret_examination = e;
    return 0;
}

void examine_free(struct examination *e)
{
    stop(e);
    buf_deinit(&e->answer);
    free(e->found);
    free(e);
}

void examine_on_writable(struct examination *e)
{
    push(e);
}

void examine_on_reset(struct examination *e)
{
    e->is_over = true;
    stop(e);
    free(TAKE(e->found));
}
