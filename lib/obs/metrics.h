#pragma once
#include "lib/base/buf.h"
#include "lib/base/reason.h"
/*
 * metrics.h - counters and gauges as rows, in Prometheus' text format.
 *
 *     #define RELAY_METRICS(X)                                                                   \
 *         X(STREAMS, "adit_relay_streams", GAUGE, NULL, NULL, "Streams that are open.")          \
 *         X(REFUSED, "adit_relay_refused_total", COUNTER, &metric_by_reason, NULL, "Refusals.")
 *     enum { RELAY_METRICS(METRIC_ENUM) RELAY_METRIC_COUNT };
 *     static const struct metric_row rows[] = { RELAY_METRICS(METRIC_ROW) };
 *
 *     metric_add(slot, M_STREAMS, 1);
 *     metric_add_at(slot, M_REFUSED, REASON_NO_GRANT, 0, 1);
 *
 * A label's values are a list that is known when the program is built, so the number of
 * series is too: no name that a stranger chooses becomes one.
 *
 * Shape      counts are kept in slots, one for each thread that counts often; what is printed
 *            is their sum, and all series are printed, zeros too.
 * Ownership  slots belong to their metrics.  Rows and labels are static.
 * Threads    any thread may use any slot at any time, without a lock; a slot of its own
 *            saves a thread the others' cache lines.
 * Errors     an index that a label does not have is counted as its last value.
 * Source     Prometheus text format 0.0.4.
 */
enum metric_type { METRIC_COUNTER, METRIC_GAUGE };

struct metric_label {
    const char *key;
    unsigned count;
    const char *(*value)(unsigned i);
};

/* A label whose values are the rows of a list of names, in the order of the enum made of it. */
#define METRIC_LABEL(variable_, key_, LIST_)                                                    \
    static const char *const variable_##_values[] = { LIST_(METRIC_LABEL_VALUE) };              \
    static const char *variable_##_value(unsigned i)                                            \
    {                                                                                           \
        return variable_##_values[i];                                                           \
    }                                                                                           \
    const struct metric_label variable_ = { key_, ARRAY_LEN(variable_##_values), variable_##_value }
#define METRIC_LABEL_VALUE(name_) #name_,

extern const struct metric_label metric_by_reason;      /* reason="no-grant", by enum reason */

struct metric_row {
    const char *name, *help;
    enum metric_type type;
    const struct metric_label *labels[2];               /* NULL: none */
};

#define METRIC_ENUM(id, ...) M_##id,
#define METRIC_ROW(id, name_, type_, label_a, label_b, help_) \
    [M_##id] = { name_, help_, METRIC_##type_, { label_a, label_b } },

struct metrics;
struct metric_slot;

MUST_CHECK int metrics_new(const struct metric_row *rows, unsigned row_count, unsigned slot_count,
                           struct metrics **ret_metrics);
void metrics_free(struct metrics *m);
DEFINE_FREEP(metrics, metrics_free)
struct metric_slot *metrics_slot(struct metrics *m, unsigned i);        /* i < slot_count */

/* Gauges take negative numbers.  A NULL slot counts nowhere (tests). */
void metric_add(struct metric_slot *slot, unsigned row, int64_t n);
void metric_add_at(struct metric_slot *slot, unsigned row, unsigned a, unsigned b, int64_t n);
/* A gauge's share of this slot. */
void metric_set(struct metric_slot *slot, unsigned row, int64_t value);
void metric_set_at(struct metric_slot *slot, unsigned row, unsigned a, unsigned b, int64_t value);
/* The sum over all slots. */
int64_t metrics_value(const struct metrics *m, unsigned row, unsigned a, unsigned b);

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"
void metrics_print(const struct metrics *m, struct buf *out);
/* What every program tells of itself: version, start, memory, CPU, descriptors, lost logs. */
void metrics_print_process(const char *program, struct buf *out);
