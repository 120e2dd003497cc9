#include "controlplane/store/store_internal.h"

int store_event_add(struct store_tx *tx, const struct store_event *event)
{
    return db_done(tx, db_bind(tx, Q_event_add, "isssss", (int64_t)store_now_ms(tx->store), event->topic,
                               event->kind, event->object, event->owner, event->doc), NULL);
}

int store_events(struct store_tx *tx, int64_t after, size_t limit, store_event_fn fn, void *ctx)
{
    AUTO(stmt_resetp) struct stmt *row = db_bind(tx, Q_events, "ii", after, (int64_t)limit);
    int r;

    while ((r = db_step(tx, row)) == DB_ROW) {
        r = fn(ctx, &(struct store_event){
            .number = column_int(row, 0), .at_ms = column_int(row, 1), .topic = column_span(row, 2),
            .kind = column_span(row, 3), .object = column_span(row, 4), .owner = column_span(row, 5),
            .doc = column_span(row, 6),
        });
        if (r)
            return r;
    }
    return r;
}

int store_events_bounds(struct store_tx *tx, int64_t *ret_oldest, int64_t *ret_newest)
{
    AUTO(stmt_resetp) struct stmt *row = db_bind(tx, Q_events_bounds, "");
    int r;

    r = db_step(tx, row);
    if (r != DB_ROW)
        return r;
    *ret_oldest = column_int(row, 0);
    *ret_newest = column_int(row, 1);
    return 0;
}

int store_events_trim(struct store_tx *tx, uint64_t keep)
{
    return db_done(tx, db_bind(tx, Q_events_trim, "i", (int64_t)(keep ? keep : 1)), NULL);
}
