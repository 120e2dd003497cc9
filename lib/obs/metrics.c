#include "lib/obs/metrics.h"
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#define CACHE_LINE 64

struct metric_slot {
    const struct metrics *owner;
    atomic_llong *values;       /* series of all rows, row after row */
};

struct metrics {
    const struct metric_row *rows;
    unsigned row_count, slot_count;
    unsigned *first;            /* where each row's series begin */
    void *memory;               /* of all slots' values */
    struct metric_slot slots[];
};

static const char *reason_value(unsigned i)
{
    return reason_text((enum reason)i);
}

const struct metric_label metric_by_reason = { "reason", REASON_COUNT, reason_value };

static unsigned label_count(const struct metric_label *label)
{
    return label ? label->count : 1;
}

static unsigned series_count(const struct metric_row *row)
{
    return label_count(row->labels[0]) * label_count(row->labels[1]);
}

static size_t round_up(size_t n)
{
    return (n + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
}

/* Each slot begins on a cache line of its own. */
static int values_new(struct metrics *m, unsigned series)
{
    size_t slot_bytes = round_up(series * sizeof(atomic_llong));
    char *at;

    m->memory = calloc(1, m->slot_count * slot_bytes + CACHE_LINE);
    if (!m->memory)
        return -ENOMEM;

    at = (char *)m->memory + (CACHE_LINE - (uintptr_t)m->memory % CACHE_LINE);
    for (unsigned i = 0; i < m->slot_count; i++) {
        m->slots[i].owner = m;
        m->slots[i].values = (atomic_llong *)(void *)(at + i * slot_bytes);
    }
    return 0;
}

int metrics_new(const struct metric_row *rows, unsigned row_count, unsigned slot_count,
                struct metrics **ret_metrics)
{
    AUTO(metrics_freep) struct metrics *m =
        calloc(1, sizeof(*m) + slot_count * sizeof(m->slots[0]));
    unsigned series = 0;
    int r;

    if (!m)
        return -ENOMEM;
    m->rows = rows;
    m->row_count = row_count;
    m->slot_count = slot_count;
    m->first = calloc(row_count + 1, sizeof(*m->first));
    if (!m->first)
        return -ENOMEM;

    for (unsigned i = 0; i < row_count; i++) {
        m->first[i] = series;
        series += series_count(&rows[i]);
    }
    r = values_new(m, series);
    if (r)
        return r;
    *ret_metrics = TAKE(m);
    return 0;
}

void metrics_free(struct metrics *m)
{
    if (!m)
        return;
    free(m->first);
    free(m->memory);
    free(m);
}

struct metric_slot *metrics_slot(struct metrics *m, unsigned i)
{
    return &m->slots[i < m->slot_count ? i : 0];
}

static unsigned clamp(unsigned i, const struct metric_label *label)
{
    return i < label_count(label) ? i : label_count(label) - 1;
}

static unsigned series_of(const struct metrics *m, unsigned row, unsigned a, unsigned b)
{
    const struct metric_label *const *labels = m->rows[row].labels;

    return m->first[row] + clamp(a, labels[0]) * label_count(labels[1]) + clamp(b, labels[1]);
}

void metric_add_at(struct metric_slot *slot, unsigned row, unsigned a, unsigned b, int64_t n)
{
    if (slot)
        atomic_fetch_add_explicit(&slot->values[series_of(slot->owner, row, a, b)], n,
                                  memory_order_relaxed);
}

void metric_add(struct metric_slot *slot, unsigned row, int64_t n)
{
    metric_add_at(slot, row, 0, 0, n);
}

void metric_set_at(struct metric_slot *slot, unsigned row, unsigned a, unsigned b, int64_t value)
{
    if (slot)
        atomic_store_explicit(&slot->values[series_of(slot->owner, row, a, b)], value,
                              memory_order_relaxed);
}

void metric_set(struct metric_slot *slot, unsigned row, int64_t value)
{
    metric_set_at(slot, row, 0, 0, value);
}

int64_t metrics_value(const struct metrics *m, unsigned row, unsigned a, unsigned b)
{
    unsigned series = series_of(m, row, a, b);
    int64_t sum = 0;

    for (unsigned i = 0; i < m->slot_count; i++)
        sum += atomic_load_explicit(&m->slots[i].values[series], memory_order_relaxed);
    return sum;
}

static void put_escaped(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\n')
            buf_put_str(out, "\\n");
        else
            buf_printf(out, *text == '\\' || *text == '"' ? "\\%c" : "%c", *text);
    }
}

static void put_label(struct buf *out, const struct metric_label *label, unsigned i,
                      const char *sep)
{
    buf_printf(out, "%s%s=\"", sep, label->key);
    put_escaped(out, label->value(i));
    buf_put_str(out, "\"");
}

static void put_series(struct buf *out, const struct metrics *m, unsigned row, unsigned a,
                       unsigned b)
{
    const struct metric_row *r = &m->rows[row];

    buf_put_str(out, r->name);
    if (r->labels[0])
        put_label(out, r->labels[0], a, "{");
    if (r->labels[1])
        put_label(out, r->labels[1], b, r->labels[0] ? "," : "{");
    buf_put_str(out, r->labels[0] || r->labels[1] ? "} " : " ");
    buf_printf(out, "%lld\n", (long long)metrics_value(m, row, a, b));
}

static void put_row(struct buf *out, const struct metrics *m, unsigned row)
{
    const struct metric_row *r = &m->rows[row];

    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", r->name, r->help, r->name,
               r->type == METRIC_COUNTER ? "counter" : "gauge");
    for (unsigned a = 0; a < label_count(r->labels[0]); a++) {
        for (unsigned b = 0; b < label_count(r->labels[1]); b++)
            put_series(out, m, row, a, b);
    }
}

void metrics_print(const struct metrics *m, struct buf *out)
{
    for (unsigned row = 0; row < m->row_count; row++)
        put_row(out, m, row);
}
