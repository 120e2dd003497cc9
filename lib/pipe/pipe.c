#include "lib/pipe/pipe.h"

#include "lib/net/socket.h"

#include <errno.h>
#include <string.h>

#define SPANS 32            /* of one writev: two full first windows in chunks of 16 KiB */

struct pipe_idle {
    struct pipe *pipe;
    struct loop_timer timer;
    uint64_t active_ms;
    uint32_t limit_ms;
};

struct pipe_early {
    size_t n, at;
    unsigned char bytes[];
};

static void drop_early(struct pipe *p)
{
    free(TAKE(p->early));
}

static void drop_idle(struct pipe *p)
{
    if (p->idle)
        timer_stop(&p->idle->timer);
    free(TAKE(p->idle));
}

static void note_active(struct pipe *p)
{
    if (p->idle)
        p->idle->active_ms = loop_now_ms(conn_loop(p->conn));
}

static void drop_conn(struct pipe *p)
{
    drop_idle(p);
    loop_defer_cancel(&p->out);
    drop_early(p);
    if (p->conn)
        conn_reset(TAKE(p->conn));
}

/* The socket died under us: what was read before still reaches the other end. */
static void lose_conn(struct pipe *p)
{
    drop_conn(p);
    mux_stream_reset(p->stream, p->conn_lost, SPAN_NONE, false);
}

static void on_idle(void *arg)
{
    struct pipe_idle *i = arg;
    struct loop *l = conn_loop(i->pipe->conn);
    uint64_t quiet_ms = loop_now_ms(l) - i->active_ms;

    if (quiet_ms >= i->limit_ms)
        pipe_cut(i->pipe, REASON_IDLE_TIMEOUT, SPAN_NONE);
    else
        timer_start(l, &i->timer, i->limit_ms - quiet_ms, on_idle, i);
}

static bool watch_idle(struct pipe *p, uint32_t limit_ms)
{
    struct loop *l = conn_loop(p->conn);

    if (!limit_ms)
        return true;
    p->idle = calloc(1, sizeof(*p->idle));
    if (!p->idle)
        return false;
    p->idle->pipe = p;
    p->idle->limit_ms = limit_ms;
    p->idle->active_ms = loop_now_ms(l);
    timer_start(l, &p->idle->timer, limit_ms, on_idle, p->idle);
    return true;
}

static void set_want(struct pipe *p, unsigned event, bool is_on)
{
    unsigned now = conn_wanted(p->conn);
    unsigned next = is_on ? now | event : now & ~event;

    if (next != now)
        conn_want(p->conn, next);
}

/* Without a gate, all of it. */
static size_t gate_room(const struct pipe *p, size_t most)
{
    return p->gate ? p->gate->room(p->gate, most) : most;
}

static void note_carried(const struct pipe *p, size_t bytes)
{
    if (p->gate)
        p->gate->carried(p->gate, bytes);
}

/* It was read already, so it waits for no gate.  What came before goes first; false: the stream takes no more now. */
static bool push_early(struct pipe *p)
{
    while (p->early) {
        size_t room, left = p->early->n - p->early->at;
        unsigned char *dst = mux_stream_reserve(p->stream, &room);

        if (!dst)
            return false;
        if (room > left)
            room = left;
        memcpy(dst, p->early->bytes + p->early->at, room);
        mux_stream_commit(p->stream, room);
        note_carried(p, room);
        p->early->at += room;
        if (p->early->at == p->early->n)
            drop_early(p);
    }
    return true;
}

/* One read into the replay buffer: > 0 bytes, 0 stop for now.  Less than there was room for
 * is all there was: the socket says when there is more, asking now would only cost. */
static size_t fill_once(struct pipe *p)
{
    size_t room, most = gate_room(p, PIPE_TURN);
    unsigned char *dst = most ? mux_stream_reserve(p->stream, &room) : NULL;
    ssize_t n;

    if (!dst) {
        set_want(p, CONN_READ, false);      /* pipe_on_writable() resumes, or pipe_resume() */
        return 0;
    }

    if (room > most)
        room = most;
    n = conn_read(p->conn, dst, room);
    mux_stream_commit(p->stream, n > 0 ? (size_t)n : 0);
    if (n > 0) {
        note_carried(p, (size_t)n);
        return (size_t)n == room ? room : 0;
    }

    if (n == 0) {
        p->is_in_done = true;
        set_want(p, CONN_READ, false);
        mux_stream_fin(p->stream);
    } else if (n != -EAGAIN) {
        lose_conn(p);
    }
    return 0;
}

static void on_conn_readable(void *user)
{
    struct pipe *p = user;
    size_t turn = 0;

    note_active(p);
    while (p->conn && turn < PIPE_TURN) {
        size_t n = fill_once(p);

        if (n == 0)
            return;
        turn += n;
    }
}

/* Passes the other end's FIN on once all before it is out. */
static void finish_out(struct pipe *p)
{
    if (p->is_out_done || !mux_stream_at_fin(p->stream))
        return;

    p->is_out_done = true;
    conn_shutdown_write(p->conn);
}

/* A reader that has stalled would have the kernel take 4 MB. */
static void bound_unsent(struct pipe *p)
{
    if (p->is_bounded || mux_stream_consumed(p->stream) < PIPE_UNSENT_FROM)
        return;
    p->is_bounded = true;
    socket_bound_output(conn_fd(p->conn), PIPE_UNSENT_MAX);
}

/* What came and may go now, as spans; 0: nothing. */
static size_t next_out(struct pipe *p, struct span spans[SPANS])
{
    size_t count = mux_stream_peek(p->stream, spans, SPANS), left, n;

    left = count ? gate_room(p, PIPE_TURN) : 0;
    for (n = 0; n < count && left; n++) {
        spans[n] = span_first(spans[n], left);
        left -= spans[n].n;
    }
    return n;
}

static void write_out(struct pipe *p)
{
    struct span spans[SPANS];
    size_t count;

    note_active(p);
    while ((count = next_out(p, spans)) > 0) {
        ssize_t n = conn_writev(p->conn, spans, count);

        if (n > 0) {
            mux_stream_consume(p->stream, (size_t)n);
            note_carried(p, (size_t)n);
            bound_unsent(p);
        }
        if (n == -EAGAIN || n == 0) {
            set_want(p, CONN_WRITE, true);
            return;
        }
        if (n < 0) {
            lose_conn(p);
            return;
        }
    }
    set_want(p, CONN_WRITE, false);
    finish_out(p);
}

static void on_conn_writable(void *user)
{
    write_out(user);
}

static void on_turn_end(void *arg)
{
    write_out(arg);
}

/* A record of the tunnel is 16 KiB, and several come in one turn: they go out together. */
void pipe_on_readable(struct pipe *p)
{
    if (p->conn)
        loop_defer(conn_loop(p->conn), &p->out, on_turn_end, p);
}

static const struct conn_handlers handlers = {
    .on_readable = on_conn_readable,
    .on_writable = on_conn_writable,
};

static bool keep_early(struct pipe *p, struct span early)
{
    if (early.n == 0)
        return true;
    p->early = malloc(sizeof(*p->early) + early.n);
    if (!p->early)
        return false;
    p->early->n = early.n;
    p->early->at = 0;
    memcpy(p->early->bytes, early.p, early.n);
    return true;
}

void pipe_start(struct pipe *p, struct conn *conn, struct mux_stream *stream, enum reason conn_lost,
                uint32_t idle_ms, struct span early)
{
    *p = (struct pipe){ .conn = conn, .stream = stream, .conn_lost = conn_lost, .gate = p->gate };
    conn_set_handlers(conn, &handlers, p);
    if (!keep_early(p, early) || !watch_idle(p, idle_ms)) {
        pipe_cut(p, REASON_OVERLOAD, SPAN_NONE);
        return;
    }
    conn_want(conn, push_early(p) ? CONN_READ : 0);
    write_out(p);
}

void pipe_on_writable(struct pipe *p)
{
    if (p->conn && !p->is_in_done && push_early(p))
        set_want(p, CONN_READ, true);
}

void pipe_resume(struct pipe *p)
{
    pipe_on_writable(p);
    pipe_on_readable(p);
}

void pipe_on_reset(struct pipe *p)
{
    if (p->conn && loop_defer_is_on(&p->out))
        write_out(p);           /* what came before the reset */
    drop_conn(p);
}

void pipe_on_ended(struct pipe *p, enum reason how)
{
    drop_idle(p);
    loop_defer_cancel(&p->out);
    drop_early(p);
    if (!p->conn)
        return;
    if (how == REASON_NONE)
        conn_close(TAKE(p->conn));
    else
        conn_reset(TAKE(p->conn));
}

void pipe_detach(struct pipe *p)
{
    if (p->idle)
        timer_stop(&p->idle->timer);
    loop_defer_cancel(&p->out);
    if (p->conn)
        conn_detach(p->conn);
}

/* What came in meanwhile is written, whoever was told of it. */
void pipe_attach(struct pipe *p, struct loop *l)
{
    if (!p->conn)
        return;
    conn_attach(p->conn, l);
    if (p->idle)
        timer_start(l, &p->idle->timer, p->idle->limit_ms, on_idle, p->idle);
    loop_defer(l, &p->out, on_turn_end, p);
}

void pipe_cut(struct pipe *p, enum reason why, struct span text)
{
    drop_conn(p);
    mux_stream_reset(p->stream, why, text, true);
}
