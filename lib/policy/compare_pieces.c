/* The targets that a change touches, cut so that one question answers for a whole piece. */
#include "lib/policy/compare_internal.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PORT_LAST 65535u
#define PORT_FIRST 1u

int spots_add(struct comparing *c, struct spots *s, const struct host_pattern *host,
              const struct port_range *ports, size_t port_count)
{
    struct spot *grown;
    size_t room = s->room ? 2 * s->room : 64;

    if (host->kind == HOST_UNIX)
        return 0;
    if (host->kind == HOST_GLOB) {
        c->summary->is_rough = true;
        return 0;
    }
    if (s->count == SPOTS_MAX) {
        c->summary->is_truncated = true;
        return 0;
    }
    if (s->count == s->room) {
        grown = reallocarray(s->items, room, sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        s->items = grown;
        s->room = room;
    }
    s->items[s->count++] = (struct spot){ *host, ports, port_count };
    return 0;
}

void sources_add(struct comparing *c, struct addr *sources, size_t *count, const struct addr *source)
{
    for (size_t i = 0; i < *count; i++) {
        if (addr_eq(&sources[i], source))
            return;
    }
    if (*count < SOURCES_MAX)
        sources[(*count)++] = *source;
    else
        c->summary->is_truncated = true;
}

/* ---- which pattern lies in which ---- */
static bool ends_below(const char *name, const char *suffix)
{
    size_t n = strlen(name), k = strlen(suffix);

    return n > k && name[n - k - 1] == '.' && strcmp(name + n - k, suffix) == 0;
}

/* Strictly: what it means is meant by the outer one, and not the other way round. */
static bool lies_in(const struct host_pattern *outer, const struct host_pattern *inner)
{
    bool is_name = inner->kind == HOST_EXACT || inner->kind == HOST_SUFFIX;

    if (outer->kind == HOST_CIDR)
        return inner->kind == HOST_CIDR && inner->cidr.bits > outer->cidr.bits &&
               cidr_has(&outer->cidr, &inner->cidr.base);
    if (outer->kind == HOST_SUFFIX)
        return is_name && ends_below(inner->text, outer->text);
    return outer->kind == HOST_ANY && is_name;
}

static bool is_same(const struct host_pattern *a, const struct host_pattern *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind == HOST_CIDR)
        return a->cidr.bits == b->cidr.bits && addr_eq(&a->cidr.base, &b->cidr.base);
    return a->kind == HOST_ANY || strcmp(a->text, b->text) == 0;
}

static bool overlap(const struct host_pattern *a, const struct host_pattern *b)
{
    return is_same(a, b) || lies_in(a, b) || lies_in(b, a);
}

/* ---- one target that stands for a piece ---- */
static struct addr address_after(const struct cidr *c)
{
    struct addr a = c->base;

    for (unsigned bit = c->bits; bit < 8 * sizeof(a.ip); bit++)
        a.ip[bit / 8] |= (unsigned char)(0x80 >> bit % 8);
    for (size_t i = sizeof(a.ip); i-- > 0 && ++a.ip[i] == 0;)
        ;
    return a;
}

/* No pattern inside the network means it. */
static bool is_alone(const struct comparing *c, const struct host_pattern *outer, const struct addr *a)
{
    const struct spots *lists[] = { &c->known, &c->common, &c->areas };

    for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
        for (size_t i = 0; i < lists[l]->count; i++) {
            const struct host_pattern *p = &lists[l]->items[i].host;

            if (lies_in(outer, p) && cidr_has(&p->cidr, a))
                return false;
        }
    }
    return true;
}

/* The first address, or the first behind a network inside: one of them is alone, if any is. */
static bool find_address(const struct comparing *c, const struct host_pattern *host, struct addr *ret_addr)
{
    const struct spots *lists[] = { &c->known, &c->common, &c->areas };

    *ret_addr = host->cidr.base;
    if (is_alone(c, host, ret_addr))
        return true;
    for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
        for (size_t i = 0; i < lists[l]->count; i++) {
            const struct host_pattern *p = &lists[l]->items[i].host;

            if (!lies_in(host, p))
                continue;
            *ret_addr = address_after(&p->cidr);
            if (cidr_has(&host->cidr, ret_addr) && is_alone(c, host, ret_addr))
                return true;
        }
    }
    return false;
}

/* False: nothing of it is left beside what is more specific. */
static bool find_witness(const struct comparing *c, const struct host_pattern *host, struct target *ret_target)
{
    char text[320];
    struct addr addr;

    if (host->kind == HOST_CIDR) {
        if (!find_address(c, host, &addr))
            return false;
        addr_format(&addr, text);
    } else if (host->kind == HOST_EXACT) {
        snprintf(text, sizeof(text), "%s", host->text);
    } else {
        snprintf(text, sizeof(text), "adit-any.%s", host->kind == HOST_SUFFIX ? host->text : "adit-any");
    }
    return target_parse(span_str(text), 1, ret_target);
}

/* ---- cutting ---- */
static void add_bound(struct comparing *c, uint32_t port)
{
    if (port <= PORT_FIRST || port > PORT_LAST)
        return;
    if (c->bound_count < BOUNDS_MAX)
        c->bounds[c->bound_count++] = port;
    else
        c->summary->is_truncated = true;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* Ports at which some spot begins, or has ended. */
static void find_bounds(struct comparing *c)
{
    const struct spots *lists[] = { &c->known, &c->common, &c->areas };
    size_t kept = 0;

    c->bound_count = 0;
    for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
        for (size_t i = 0; i < lists[l]->count; i++) {
            const struct spot *s = &lists[l]->items[i];

            for (size_t k = 0; k < s->port_count; k++) {
                add_bound(c, s->ports[k].first);
                add_bound(c, s->ports[k].last + 1u);
            }
        }
    }
    if (c->bound_count)
        qsort(c->bounds, c->bound_count, sizeof(*c->bounds), by_number);
    for (size_t i = 0; i < c->bound_count; i++) {
        if (!kept || c->bounds[kept - 1] != c->bounds[i])
            c->bounds[kept++] = c->bounds[i];
    }
    c->bound_count = kept;
}

static int add_piece(struct comparing *c, const struct host_pattern *host, uint32_t first, uint32_t last)
{
    if (!c->pieces)
        c->pieces = calloc(PIECES_MAX, sizeof(*c->pieces));
    if (!c->pieces)
        return -ENOMEM;
    if (c->piece_count == PIECES_MAX) {
        c->summary->is_truncated = true;
        return 0;
    }
    c->pieces[c->piece_count++] =
        (struct piece){ .host = host, .ports = { (uint16_t)first, (uint16_t)last } };
    return 0;
}

static int cut_range(struct comparing *c, const struct host_pattern *host, struct port_range range)
{
    uint32_t first = range.first;
    int r = 0;

    for (size_t i = 0; !r && i < c->bound_count && c->bounds[i] <= range.last; i++) {
        if (c->bounds[i] <= first)
            continue;
        r = add_piece(c, host, first, c->bounds[i] - 1);
        first = c->bounds[i];
    }
    return r ? r : add_piece(c, host, first, range.last);
}

static int cut_ports(struct comparing *c, const struct spot *area, const struct host_pattern *host)
{
    int r = 0;

    if (!area->port_count)
        return cut_range(c, host, (struct port_range){ PORT_FIRST, PORT_LAST });
    for (size_t i = 0; !r && i < area->port_count; i++)
        r = cut_range(c, host, area->ports[i]);
    return r;
}

/* The area itself, and all that is more specific inside. */
static int cut_area(struct comparing *c, const struct spot *area)
{
    const struct spots *lists[] = { &c->known, &c->common };
    int r = cut_ports(c, area, &area->host);

    for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
        for (size_t i = 0; !r && i < lists[l]->count; i++) {
            if (lies_in(&area->host, &lists[l]->items[i].host))
                r = cut_ports(c, area, &lists[l]->items[i].host);
        }
    }
    return r;
}

static int by_place(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    int r = (int)x->host->kind - (int)y->host->kind;

    if (!r && x->host->kind == HOST_CIDR)
        r = memcmp(&x->host->cidr, &y->host->cidr, sizeof(x->host->cidr));
    else if (!r && x->host->text)
        r = strcmp(x->host->text, y->host->text);
    return r ? r : (int)x->ports.first - (int)y->ports.first;
}

static void drop_twins(struct comparing *c)
{
    size_t kept = 0;

    if (c->piece_count)
        qsort(c->pieces, c->piece_count, sizeof(*c->pieces), by_place);
    for (size_t i = 0; i < c->piece_count; i++) {
        if (!kept || by_place(&c->pieces[kept - 1], &c->pieces[i]) != 0)
            c->pieces[kept++] = c->pieces[i];
    }
    c->piece_count = kept;
}

/* Whether the user has anything that the spot, which is touched for everybody, could change. */
static bool concerns(const struct comparing *c, const struct spot *wide)
{
    for (size_t i = 0; i < c->known.count; i++) {
        if (overlap(&wide->host, &c->known.items[i].host))
            return true;
    }
    return c->has_anywhere;
}

static int cut_all(struct comparing *c)
{
    int r = 0;

    c->piece_count = 0;
    for (size_t i = 0; !r && i < c->wide.count; i++) {
        if (concerns(c, &c->wide.items[i]))
            r = spots_add(c, &c->areas, &c->wide.items[i].host, c->wide.items[i].ports,
                          c->wide.items[i].port_count);
    }
    find_bounds(c);
    for (size_t i = 0; !r && i < c->areas.count; i++)
        r = cut_area(c, &c->areas.items[i]);
    drop_twins(c);
    return r;
}

/* ---- asking ---- */
struct asking {
    struct comparing *c;
    struct policy_question question;
    struct policy_decision decisions[2];
    struct compare_item item;           /* grows over pieces beside each other */
    struct policy_decision kept[2];
    const struct host_pattern *host;    /* of the witness */
    bool has_witness, has_item;
};

static void give(struct asking *a)
{
    struct comparing *c = a->c;

    if (!a->has_item)
        return;
    a->has_item = false;
    c->summary->gains += a->item.is_gain;
    c->summary->losses += !a->item.is_gain;
    if (c->q->item)
        c->q->item(c->q->ctx, &a->item);
}

static bool goes_on(const struct asking *a, const struct piece *piece, bool is_gain)
{
    return a->has_item && a->item.is_gain == is_gain && a->item.ports.last + 1u == piece->ports.first;
}

static void note(struct asking *a, const struct piece *piece, bool is_gain, size_t source)
{
    struct comparing *c = a->c;

    if (goes_on(a, piece, is_gain)) {
        a->item.ports.last = piece->ports.last;
        return;
    }
    give(a);
    a->kept[0] = a->decisions[is_gain ? 1 : 0];
    a->kept[1] = a->decisions[is_gain ? 0 : 1];
    a->item = (struct compare_item){
        .is_gain = is_gain, .user = c->users[1] ? c->users[1] : c->users[0], .ports = piece->ports,
        .has_source = source > 0, .source = c->sources[source], .witness = a->question.target,
        .allowed = &a->kept[0], .refused = &a->kept[1],
    };
    host_pattern_format(piece->host, a->item.host, sizeof(a->item.host));
    a->has_item = true;
}

static void ask(struct asking *a, struct piece *piece, size_t source)
{
    struct comparing *c = a->c;
    bool was, is;

    if (!a->host || !is_same(a->host, piece->host)) {
        give(a);                        /* so that one item has one host */
        a->host = piece->host;
        a->has_witness = find_witness(c, piece->host, &a->question.target);
    }
    if (!a->has_witness)
        return;
    a->question.target.port = piece->ports.first;
    for (size_t i = 0; i < 2; i++)
        policy_decide(c->sides[i].policy, &a->question, &a->decisions[i]);
    c->decisions += 2;
    was = a->decisions[0].reason == REASON_NONE;
    is = a->decisions[1].reason == REASON_NONE;
    if (source == 0)
        piece->verdict = is - was;
    if (was != is && (source == 0 || piece->verdict != is - was))
        note(a, piece, is, source);
}

static bool may_ask(struct comparing *c)
{
    size_t max = c->q->decisions_max ? c->q->decisions_max : COMPARE_DECISIONS_MAX;

    if (c->decisions + 2 <= max)
        return true;
    c->is_spent = c->summary->is_truncated = true;
    return false;
}

int pieces_compare(struct comparing *c)
{
    const struct user_record *user = c->users[1] ? c->users[1] : c->users[0];
    struct asking a = { .c = c, .question = { .now_ms = c->q->now_ms } };
    int r = cut_all(c);

    span_copy(record_id(&user->record), a.question.user.text, sizeof(a.question.user.text));
    for (size_t s = 0; !r && s < c->source_count; s++) {
        a.question.source = c->sources[s];
        a.host = NULL;
        for (size_t i = 0; i < c->piece_count && may_ask(c); i++)
            ask(&a, &c->pieces[i], s);
        give(&a);
    }
    return r;
}
