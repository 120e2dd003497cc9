#include "dataplane/route/holders.h"
#include "lib/check/check.h"
#include "lib/policy/world_fixture.h"

/* Tunnels of a relay whose other ends are in memory: an agent's mux and tunnel for each. */
enum { LINKS = HOLDER_LANES_MAX + 2 };

struct end {
    struct town *town;
    struct tunnel *tunnel;          /* NULL: ended */
    bool is_up, is_finishing;
    enum reason why;
};

struct town {
    struct mux *relay, *agent;
    struct tunnel_self relay_self, agent_self[LINKS];
    struct end ours[LINKS], theirs[LINKS];
    struct holders holders;
    struct roster *roster;
    uint64_t now_ms;
};

static struct end *other(struct end *e)
{
    struct town *t = e->town;

    return e >= t->ours && e < t->ours + LINKS ? &t->theirs[e - t->ours] : &t->ours[e - t->theirs];
}

static void want_send(void *carrier) { (void)carrier; }
static void set_timer(void *carrier, uint64_t at_ms) { (void)carrier, (void)at_ms; }
static void finish(void *carrier) { ((struct end *)carrier)->is_finishing = true; }
static void drop(void *carrier, enum reason why, const char *text)
{
    (void)why, (void)text;
    ((struct end *)carrier)->is_finishing = true;
}
static const struct tunnel_carrier carrier = {
    .want_send = want_send, .set_timer = set_timer, .finish = finish, .drop = drop,
};

static void on_credential(void *user, struct tunnel *t, const struct tunnel_hello *hello, const struct identity *shown)
{
    (void)user, (void)hello, (void)shown;
    tunnel_accept(t);
}

static void on_up(void *user, struct tunnel *t)
{
    (void)t;
    ((struct end *)user)->is_up = true;
}

static void on_down(void *user, struct tunnel *t, enum reason why, const char *text)
{
    struct end *e = user;

    (void)t, (void)text;
    e->tunnel = NULL;
    e->why = why;
}

static const struct tunnel_handlers handlers = { .on_credential = on_credential, .on_up = on_up, .on_down = on_down };

static bool move(struct end *from)
{
    static unsigned char bytes[MUX_MESSAGE_MAX];
    struct end *to = other(from);
    size_t n = from->tunnel ? tunnel_produce(from->tunnel, bytes, sizeof(bytes), from->town->now_ms) : 0;

    if (n && to->tunnel)
        (void)tunnel_take(to->tunnel, span_of(bytes, n), true, from->town->now_ms);
    return n > 0;
}

static void settle(struct town *t, unsigned i)
{
    while (move(&t->ours[i]) || move(&t->theirs[i]))
        ;
    if (t->ours[i].is_finishing || t->theirs[i].is_finishing) {
        if (t->ours[i].tunnel)
            tunnel_ended(t->ours[i].tunnel, REASON_SESSION_LOST, "");
        if (t->theirs[i].tunnel)
            tunnel_ended(t->theirs[i].tunnel, REASON_SESSION_LOST, "");
    }
}

static void town_open(struct town *t)
{
    struct mux_config config = { .memory_limit = 1 << 20, .streams_max = 100, .random_seed = 1 };
    struct mux_handlers on = { 0 };

    memset(t, 0, sizeof(*t));
    t->now_ms = 1000;
    tunnel_fill_handlers(&on);
    t->agent = mux_new(&config, &on);
    config.is_accepting = true;
    t->relay = mux_new(&config, &on);
    t->relay_self = (struct tunnel_self){ .id = uid(1), .boot_id = uid(2), .name = "relay" };
    assert_int_equal(roster_new(1, 4, &t->roster), 0);
    holders_init(&t->holders, t->roster, 0, 4);
}

static void town_close(struct town *t)
{
    for (unsigned i = 0; i < LINKS; i++) {
        if (t->ours[i].tunnel)
            tunnel_ended(t->ours[i].tunnel, REASON_SESSION_LOST, "");
        if (t->theirs[i].tunnel)
            tunnel_ended(t->theirs[i].tunnel, REASON_SESSION_LOST, "");
    }
    holders_deinit(&t->holders);
    assert_int_equal(roster_count(t->roster), 0);
    roster_free(t->roster);
    mux_free(t->relay);
    mux_free(t->agent);
}

/* Link i of a process (boot) of an agent. */
static struct tunnel *link_up(struct town *t, unsigned i, unsigned boot, int64_t starts)
{
    const struct tunnel_login login = { .kind = TUNNEL_CERTIFICATE };
    struct tunnel_config ours = {
        .is_accepting = true, .mux = t->relay, .self = &t->relay_self, .handlers = &handlers, .user = &t->ours[i],
        .carrier = &carrier, .carrier_arg = &t->ours[i],
    };
    struct tunnel_config theirs = {
        .mux = t->agent, .self = &t->agent_self[i], .login = &login, .handlers = &handlers, .user = &t->theirs[i],
        .carrier = &carrier, .carrier_arg = &t->theirs[i],
    };

    t->agent_self[i] = (struct tunnel_self){ .id = uid(7), .boot_id = uid(boot), .starts = starts, .name = "agent" };
    t->ours[i] = t->theirs[i] = (struct end){ .town = t };
    assert_int_equal(tunnel_new(&ours, &t->ours[i].tunnel), 0);
    assert_int_equal(tunnel_new(&theirs, &t->theirs[i].tunnel), 0);
    assert_int_equal(tunnel_start(t->theirs[i].tunnel, t->now_ms), 0);
    assert_int_equal(tunnel_start(t->ours[i].tunnel, t->now_ms), 0);
    settle(t, i);
    assert_true(t->ours[i].is_up && t->theirs[i].is_up);
    return t->ours[i].tunnel;
}

static enum reason hold(struct town *t, unsigned i, unsigned agent, bool *ret_was_replaced)
{
    const struct identity who = { .kind = CERT_AGENT, .id = uid(agent), .generation = 3 };
    struct held_agent *held;

    return holders_add(&t->holders, t->ours[i].tunnel, &who, tunnel_peer_hello(t->ours[i].tunnel), t->now_ms,
                       ret_was_replaced, &held);
}

static void test_lanes(void **state)
{
    const struct ulid id = uid(100), stranger = uid(101);
    bool was_replaced;
    struct held_agent *a;
    struct town t;

    (void)state;
    check_row("is held from its first lane to its last");
    town_open(&t);
    assert_null(holders_find(&t.holders, &id));
    for (unsigned i = 0; i < 3; i++) {
        link_up(&t, i, 20, 1);
        assert_int_equal(hold(&t, i, 100, &was_replaced), REASON_NONE);
        assert_false(was_replaced);
    }
    a = holders_find(&t.holders, &id);
    assert_int_equal(a->lane_count, 3);
    assert_int_equal(a->seat->generation, 3);

    check_row("forgets only what it holds");
    assert_false(holders_remove(&t.holders, &stranger, t.ours[0].tunnel, false));
    assert_false(holders_remove(&t.holders, &id, t.ours[0].tunnel, false));
    assert_false(holders_remove(&t.holders, &id, t.ours[0].tunnel, false));
    assert_int_equal(a->lane_count, 2);
    assert_false(holders_remove(&t.holders, &id, t.ours[2].tunnel, false));
    assert_true(holders_remove(&t.holders, &id, t.ours[1].tunnel, false));
    assert_null(holders_find(&t.holders, &id));
    town_close(&t);
}

static void test_left(void **state)
{
    const struct ulid id = uid(100), stranger = uid(101);
    const char *session[2];
    bool was_replaced;
    struct town t;

    (void)state;
    town_open(&t);
    for (unsigned i = 0; i < 2; i++) {
        link_up(&t, i, 20, 1);
        assert_int_equal(hold(&t, i, 100, &was_replaced), REASON_NONE);
        session[i] = tunnel_own_hello(t.ours[i].tunnel)->session.id.text;
    }
    check_row("drops no link for another agent, for a session that is not there, nor the new link itself");
    assert_false(holders_drop_left(&t.holders, &stranger, session[0], t.ours[1].tunnel));
    assert_false(holders_drop_left(&t.holders, &id, id.text, t.ours[1].tunnel));
    assert_false(holders_drop_left(&t.holders, &id, session[1], t.ours[1].tunnel));
    assert_false(t.ours[0].is_finishing || t.ours[1].is_finishing);

    check_row("drops the link that the agent has left, and no other");
    assert_true(holders_drop_left(&t.holders, &id, session[0], t.ours[1].tunnel));
    assert_true(t.ours[0].is_finishing);
    assert_false(t.ours[1].is_finishing);
    holders_remove(&t.holders, &id, t.ours[0].tunnel, false);
    settle(&t, 0);
    assert_int_equal(t.ours[0].why, REASON_SESSION_LOST);
    holders_remove(&t.holders, &id, t.ours[1].tunnel, false);
    town_close(&t);
}

static void add_to(struct holders *h, struct town *t, unsigned i)
{
    const struct identity who = { .kind = CERT_AGENT, .id = uid(100), .generation = 3 };
    struct held_agent *held;
    bool was_replaced;

    assert_int_equal(holders_add(h, t->ours[i].tunnel, &who, tunnel_peer_hello(t->ours[i].tunnel), t->now_ms,
                                 &was_replaced, &held), REASON_NONE);
}

static void test_left_elsewhere(void **state)
{
    const struct ulid id = uid(100);
    struct holders workers[2];
    struct roster *roster;
    struct town t;

    (void)state;
    check_row("drops the link that the agent has left at another worker, and no other");
    town_open(&t);
    assert_int_equal(roster_new(2, 4, &roster), 0);
    for (unsigned i = 0; i < 2; i++) {
        holders_init(&workers[i], roster, i, 4);
        link_up(&t, i, 20, 1);
        add_to(&workers[i], &t, i);
    }
    link_up(&t, 2, 20, 1);
    add_to(&workers[0], &t, 2);
    assert_false(holders_drop_left(&workers[1], &id, tunnel_own_hello(t.ours[0].tunnel)->session.id.text,
                                   t.ours[1].tunnel));
    assert_false(t.ours[0].is_finishing);
    holders_drop_told(&workers[0]);
    holders_drop_told(&workers[1]);
    assert_true(t.ours[0].is_finishing);
    assert_false(t.ours[1].is_finishing || t.ours[2].is_finishing);

    check_row("is told once");
    t.ours[0].is_finishing = false;
    holders_drop_told(&workers[0]);
    assert_false(t.ours[0].is_finishing);
    holders_deinit(&workers[0]);
    holders_deinit(&workers[1]);
    roster_free(roster);
    town_close(&t);
}

static void test_load(void **state)
{
    static const struct {
        const char *it;
        uint32_t here, there;
        int want;
    } rows[] = {
        { "stays where there is no more than there", 20, 20, -1 },
        { "stays for a few more", 10, 1, -1 },
        { "goes where there is less than half, and some", 11, 1, 1 },
        { "stays where that is not less than half", 30, 11, -1 },
        { "goes for many", 31, 11, 1 },
    };
    const struct ulid id = uid(100);
    struct berth *here, *there;
    struct held_agent *a;
    struct holders worker;
    struct roster *roster;
    unsigned to = 7;
    struct town t;

    (void)state;
    town_open(&t);
    assert_int_equal(roster_new(2, 4, &roster), 0);
    holders_init(&worker, roster, 0, 4);
    for (unsigned i = 0; i < 2; i++) {
        link_up(&t, i, 20, 1);
        add_to(&worker, &t, i);
    }
    a = holders_find(&worker, &id);
    here = &a->seat->berths[0];
    there = &a->seat->berths[1];

    check_row("goes nowhere while the other worker has no link");
    here->streams = 1000;
    assert_int_equal(holders_measure(&worker, a, t.now_ms, &to), 0);
    assert_int_equal(holders_lighter(&worker, a, t.now_ms), -1);

    there->links = 1;
    there->usable_ms = t.now_ms;
    assert_int_equal(holders_measure(&worker, a, t.now_ms, &to), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        here->streams = rows[i].here;
        there->streams = rows[i].there;
        assert_int_equal(holders_lighter(&worker, a, t.now_ms), rows[i].want);
    }

    check_row("does not go over a link that was not proved for long");
    assert_int_equal(holders_lighter(&worker, a, t.now_ms + ROSTER_PROOF_REST_MS), -1);

    check_row("knows which of its links is about to be closed");
    assert_false(holders_has_closing(a));
    assert_false(holders_drain(&worker, &id, t.ours[0].tunnel, false));
    assert_true(holders_drain(&worker, &id, t.ours[0].tunnel, true));
    assert_false(holders_drain(&worker, &id, t.ours[0].tunnel, true));
    assert_false(holders_drain(&worker, &id, t.ours[0].tunnel, false));
    assert_false(holders_drain(&worker, &id, t.ours[0].tunnel, true));
    assert_true(holders_has_closing(a));
    assert_true(holders_is_closing(a, tunnel_link(t.ours[0].tunnel)));
    assert_false(holders_is_closing(a, tunnel_link(t.ours[1].tunnel)));
    assert_ptr_equal(holders_link(&worker, a, t.now_ms), tunnel_link(t.ours[1].tunnel));
    here->streams = 0;
    holders_deinit(&worker);
    roster_free(roster);
    town_close(&t);
}

static void test_bounds(void **state)
{
    bool was_replaced;
    struct town t;

    (void)state;
    check_row("takes so many lanes of an agent, and no more");
    town_open(&t);
    for (unsigned i = 0; i <= HOLDER_LANES_MAX; i++) {
        link_up(&t, i, 20, 1);
        assert_int_equal(hold(&t, i, 100, &was_replaced), i < HOLDER_LANES_MAX ? REASON_NONE : REASON_OVERLOAD);
    }
    town_close(&t);

    check_row("takes so many agents, and no more");
    town_open(&t);
    for (unsigned i = 0; i < 5; i++) {
        link_up(&t, i, 20 + i, 1);
        assert_int_equal(hold(&t, i, 100 + i, &was_replaced), i < 4 ? REASON_NONE : REASON_OVERLOAD);
    }
    town_close(&t);
}

/* Two processes with one identity. */
static void test_replaced(void **state)
{
    static const struct {
        const char *it;
        unsigned boot;
        int64_t starts;
        enum reason want;
        bool was_replaced;
    } rows[] = {
        { "is joined by another lane of the same process", 20, 5, REASON_NONE, false },
        { "gives way to a process that started later", 21, 6, REASON_NONE, true },
        { "does not give way to one that started before", 21, 4, REASON_REPLACED, false },
    };
    const struct ulid id = uid(100);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool was_replaced = !rows[i].was_replaced;
        struct held_agent *a;
        struct town t;

        check_row(rows[i].it);
        town_open(&t);
        link_up(&t, 0, 20, 5);
        assert_int_equal(hold(&t, 0, 100, &was_replaced), REASON_NONE);
        link_up(&t, 1, rows[i].boot, rows[i].starts);
        assert_int_equal(hold(&t, 1, 100, &was_replaced), rows[i].want);
        assert_int_equal(was_replaced, rows[i].was_replaced);
        a = holders_find(&t.holders, &id);
        assert_int_equal(a->lane_count, rows[i].want == REASON_NONE && !rows[i].was_replaced ? 2 : 1);
        settle(&t, 0);
        assert_int_equal(t.ours[0].tunnel == NULL, rows[i].was_replaced);
        if (rows[i].was_replaced) {
            assert_int_equal(t.ours[0].why, REASON_REPLACED);
            assert_int_equal(t.theirs[0].why, REASON_REPLACED);
            assert_ptr_equal(a->lanes[0].tunnel, t.ours[1].tunnel);
            assert_int_equal(a->seat->session_count, 1);
        }
        town_close(&t);
    }
}

static void test_routing(void **state)
{
    const struct ulid id = uid(100), stranger = uid(101);
    struct agent_live live = { 0 };
    struct held_agent *a;
    bool was_replaced;
    struct town t;

    (void)state;
    town_open(&t);
    check_row("knows nothing of a stranger");
    assert_false(holders_live(&t.holders, &stranger, t.now_ms, &live));

    check_row("counts while it is proved");
    for (unsigned i = 0; i < 2; i++) {
        link_up(&t, i, 20, 1);
        assert_int_equal(hold(&t, i, 100, &was_replaced), REASON_NONE);
    }
    a = holders_find(&t.holders, &id);
    assert_true(holders_live(&t.holders, &id, t.now_ms, &live));
    assert_true(live.is_held && live.is_own && live.is_proved && !live.is_draining);
    assert_non_null(holders_link(&t.holders, a, t.now_ms));

    check_row("does not count when it was not proved for long, until it is again");
    t.now_ms += ROSTER_PROOF_REST_MS;
    live = (struct agent_live){ 0 };
    assert_true(holders_live(&t.holders, &id, t.now_ms, &live));
    assert_true(live.is_held && !live.is_proved);
    assert_null(holders_link(&t.holders, a, t.now_ms));
    holders_prove(&t.holders, &stranger, t.ours[1].tunnel, 5, t.now_ms);
    assert_null(holders_link(&t.holders, a, t.now_ms));
    holders_prove(&t.holders, &id, t.ours[1].tunnel, 1500, t.now_ms);
    assert_ptr_equal(holders_link(&t.holders, a, t.now_ms), tunnel_link(t.ours[1].tunnel));
    live = (struct agent_live){ 0 };
    assert_true(holders_live(&t.holders, &id, t.now_ms, &live));
    assert_true(live.is_proved);
    assert_int_equal(live.rtt_us, 1500);

    check_row("is draining when all its lanes are");
    holders_prove(&t.holders, &id, t.ours[0].tunnel, 900, t.now_ms);
    holders_drain(&t.holders, &id, t.ours[0].tunnel, false);
    live = (struct agent_live){ 0 };
    (void)holders_live(&t.holders, &id, t.now_ms, &live);
    assert_false(live.is_draining);
    assert_int_equal(live.rtt_us, 900);
    assert_ptr_equal(holders_link(&t.holders, a, t.now_ms), tunnel_link(t.ours[1].tunnel));
    holders_drain(&t.holders, &id, t.ours[1].tunnel, false);
    live = (struct agent_live){ 0 };
    (void)holders_live(&t.holders, &id, t.now_ms, &live);
    assert_true(live.is_draining);
    assert_null(holders_link(&t.holders, a, t.now_ms));
    town_close(&t);
}

static bool is_proved(struct town *t, const struct ulid *id)
{
    struct agent_live live = { 0 };

    assert_true(holders_live(&t->holders, id, t->now_ms, &live) && live.is_held);
    return live.is_proved;
}

static bool is_told(struct town *t, const char *what)
{
    char mem[4096];
    struct buf told;

    buf_init_fixed(&told, mem, sizeof(mem));
    roster_write_agents(t->roster, t->now_ms, &told);
    buf_put_u8(&told, 0);
    assert_int_equal(buf_error(&told), 0);
    return strstr(mem, what) != NULL;
}

static void test_proof(void **state)
{
    const struct ulid id = uid(100);
    bool was_replaced;
    struct held_agent *a;
    struct town t;
    int worker;

    (void)state;
    check_row("counts while one of its links does");
    town_open(&t);
    for (unsigned i = 0; i < 2; i++) {
        link_up(&t, i, 20, 1);
        assert_int_equal(hold(&t, i, 100, &was_replaced), REASON_NONE);
    }
    a = holders_find(&t.holders, &id);
    holders_proof(&t.holders, &id, t.ours[0].tunnel, MUX_DOUBTED, t.now_ms);
    assert_true(is_proved(&t, &id));
    assert_int_equal(roster_unproved_count(t.roster, t.now_ms), 0);
    assert_ptr_equal(holders_link(&t.holders, a, t.now_ms), tunnel_link(t.ours[1].tunnel));

    check_row("does not while all of them are doubted, and still takes what nobody else can");
    t.now_ms += 1000;
    holders_proof(&t.holders, &id, t.ours[1].tunnel, MUX_DOUBTED, t.now_ms);
    t.now_ms += 500;
    assert_false(is_proved(&t, &id));
    assert_null(holders_link(&t.holders, a, t.now_ms));
    assert_non_null(holders_way(&t.holders, a, a->seat, t.now_ms, &worker));
    assert_int_equal(worker, -1);

    check_row("tells for how long, whatever PONGs come");
    holders_prove(&t.holders, &id, t.ours[1].tunnel, 5, t.now_ms);
    assert_true(is_told(&t, "\"unproved_ms\":500"));
    assert_int_equal(roster_unproved_count(t.roster, t.now_ms), 1);
    assert_int_equal(roster_proof_changes(t.roster), 2);

    check_row("counts again with proof");
    holders_proof(&t.holders, &id, t.ours[1].tunnel, MUX_PROVED, t.now_ms);
    assert_true(is_proved(&t, &id) && !is_told(&t, "unproved_ms"));
    assert_int_equal(roster_proof_changes(t.roster), 3);

    check_row("is not told while its first probe is under way");
    holders_proof(&t.holders, &id, t.ours[1].tunnel, MUX_UNPROVED, t.now_ms);
    holders_proof(&t.holders, &id, t.ours[0].tunnel, MUX_UNPROVED, t.now_ms);
    assert_false(is_proved(&t, &id) || is_told(&t, "unproved_ms"));
    town_close(&t);
}

/* A link of each of two workers. */
static void test_way(void **state)
{
    static const struct {
        const char *it;
        enum mux_proof here, there;
        bool is_draining;           /* here */
        int want;                   /* 0: the link here */
    } rows[] = {
        { "stays here", MUX_PROVED, MUX_PROVED, false, 0 },
        { "stays here where that is proved", MUX_PROVED, MUX_DOUBTED, false, 0 },
        { "goes where it is proved", MUX_DOUBTED, MUX_PROVED, false, 1 },
        { "stays here on a new link", MUX_UNPROVED, MUX_PROVED, false, 0 },
        { "stays here where none is", MUX_DOUBTED, MUX_DOUBTED, false, 0 },
        { "goes where one takes streams, if none is proved", MUX_DOUBTED, MUX_UNPROVED, true, 1 },
    };
    const struct ulid id = uid(100);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct holders workers[2];
        struct mux_link *link;
        struct held_agent *a;
        struct roster *roster;
        struct town t;
        int worker;

        check_row(rows[i].it);
        town_open(&t);
        assert_int_equal(roster_new(2, 4, &roster), 0);
        for (unsigned k = 0; k < 2; k++) {
            holders_init(&workers[k], roster, k, 4);
            link_up(&t, k, 20, 1);
            add_to(&workers[k], &t, k);
            holders_proof(&workers[k], &id, t.ours[k].tunnel, k ? rows[i].there : rows[i].here, t.now_ms);
        }
        if (rows[i].is_draining)
            holders_drain(&workers[0], &id, t.ours[0].tunnel, false);
        a = holders_find(&workers[0], &id);
        link = holders_way(&workers[0], a, a->seat, t.now_ms, &worker);
        assert_ptr_equal(link, rows[i].want ? NULL : tunnel_link(t.ours[0].tunnel));
        assert_int_equal(worker, rows[i].want ? 1 : -1);
        link = holders_way(&workers[0], NULL, a->seat, t.now_ms, &worker);
        assert_true(!link && worker == 1);
        holders_deinit(&workers[0]);
        holders_deinit(&workers[1]);
        roster_free(roster);
        town_close(&t);
    }
}

static void test_sessions(void **state)
{
    const struct ulid id = uid(100);
    struct held_agent *a;
    bool was_replaced;
    struct town t;

    (void)state;
    check_row("remembers the last few sessions, each once");
    town_open(&t);
    for (unsigned i = 0; i < ROSTER_SESSIONS_MAX + 2; i++) {
        link_up(&t, i, 20, 1);
        assert_int_equal(hold(&t, i, 100, &was_replaced), REASON_NONE);
    }
    a = holders_find(&t.holders, &id);
    assert_int_equal(a->seat->session_count, ROSTER_SESSIONS_MAX);
    for (unsigned i = 0; i < ROSTER_SESSIONS_MAX; i++)
        assert_string_equal(a->seat->sessions[i].id.text, tunnel_session(t.ours[i + 2].tunnel)->id.text);
    town_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lanes), cmocka_unit_test(test_left), cmocka_unit_test(test_left_elsewhere),
        cmocka_unit_test(test_load), cmocka_unit_test(test_bounds), cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_routing), cmocka_unit_test(test_proof), cmocka_unit_test(test_way),
        cmocka_unit_test(test_sessions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
