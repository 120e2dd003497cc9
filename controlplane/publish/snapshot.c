#include "controlplane/publish/publish_internal.h"
#include "lib/base/map.h"
#include "lib/log/log.h"

#include <errno.h>
#include <string.h>

/*
 * The next snapshot is the last one with the deltas behind it, line by line: it needs no
 * transaction, and keeps what another version wrote into a record and this one does not know.
 */
struct line {
    struct map_node node;               /* by "kind id" */
    struct span text;                   /* none: it was removed */
};

struct merge {
    struct line *lines;                 /* in the order in which they first came */
    size_t count, room, living;
    struct map by_id;
};

static void merge_deinit(struct merge *m)
{
    map_deinit(&m->by_id);
    free(m->lines);
}

/* "+user 01H... {...}", "-user 01H..." */
static struct span key_of(struct span line)
{
    struct span rest = span_skip(line, 1);
    size_t kind = span_find(rest, ' ');
    size_t id = span_find(span_skip(rest, kind + 1), ' ');

    return span_first(rest, kind + 1 + id);
}

static int put_line(struct merge *m, struct span text)
{
    bool is_removal = span_starts(text, SPAN("-"));
    struct span key = key_of(text);
    struct map_node *found = map_find(&m->by_id, key);
    struct line *line = found ? container_of(found, struct line, node) : NULL;
    int r;

    if (!line && is_removal)
        return 0;
    if (!line) {
        line = &m->lines[m->count++];
        r = map_insert(&m->by_id, &line->node, key);
        if (r)
            return r;
    }
    m->living += !is_removal - (line->text.p != NULL);
    line->text = is_removal ? SPAN_NONE : text;
    return 0;
}

/* The first line is the document's header. */
static int put_document(struct merge *m, struct span bytes)
{
    struct span line;
    int r = 0;

    if (!span_cut(&bytes, '\n', &line))
        return -EINVAL;
    while (!r && span_cut(&bytes, '\n', &line) && line.n)
        r = put_line(m, line);
    return r;
}

static int merge_begin(struct merge *m, struct span documents)
{
    for (size_t i = 0; i < documents.n; i++)
        m->room += documents.p[i] == '\n';
    m->lines = calloc(m->room + 1, sizeof(*m->lines));
    map_init(&m->by_id, m->room + 1);
    return m->lines ? 0 : -ENOMEM;
}

static int put_documents(struct merge *m, struct span documents)
{
    struct state_error ignored;
    struct document d;
    int r = merge_begin(m, documents);

    while (!r && documents.n) {
        r = document_cut(&documents, &d, &ignored) ? -EINVAL : 0;
        if (!r)
            r = put_document(m, d.bytes);
    }
    return r;
}

int snapshot_merge(const struct publisher *p, struct span documents, const struct state_position *at,
                   struct buf *out)
{
    AUTO(merge_deinit) struct merge m = { .count = 0 };
    AUTO(buf_deinit) struct buf text;
    struct state_change change = { .epoch = at->epoch, .revision = at->revision };
    int r = put_documents(&m, documents);

    buf_init_heap(&text, DOCUMENT_SIZE_MAX);
    for (size_t i = 0; !r && i < m.count; i++) {
        if (!m.lines[i].text.p)
            continue;
        buf_put_span(&text, m.lines[i].text);
        buf_put_str(&text, "\n");
    }
    if (r || buf_error(&text))
        return r ? r : buf_error(&text);
    memcpy(change.digest, at->digest, sizeof(change.digest));
    change.lines = buf_span(&text);
    change.count = m.living;
    return state_snapshot_sign(keyring_cluster(p->options.keys), &change, keyring_state_key(p->options.keys), out);
}

/* With the lock held. */
static uint64_t oldest_after(const struct publisher *p)
{
    if (list_is_empty(&p->deltas.deltas))
        return 0;
    return container_of(list_first(&p->deltas.deltas), struct delta, node)->after;
}

bool snapshot_must_be_made(const struct publisher *p, const struct state_position *at)
{
    return !p->snapshot.len || p->snapshot_at.epoch != at->epoch || oldest_after(p) > p->snapshot_at.revision;
}

static bool is_due(const struct publisher *p)
{
    return p->snapshot_at.epoch == p->at.epoch && p->snapshot_at.revision < p->at.revision &&
           (p->deltas.count > PUBLISH_DELTAS_MAX / 2 || p->deltas.bytes > PUBLISH_BYTES_MAX / 2 ||
            store_now_ms(p->options.store) - p->snapshot_ms >= PUBLISH_SNAPSHOT_MS);
}

void snapshot_put(struct publisher *p, struct buf *document, const struct state_position *at)
{
    buf_deinit(&p->snapshot);
    p->snapshot = *document;
    buf_init_heap(document, 1);
    p->snapshot_at = *at;
    p->snapshot_ms = store_now_ms(p->options.store);
}

/* What it is made of; false: the deltas reach back to the snapshot no more. */
static bool gather(struct publisher *p, struct buf *out, struct state_position *ret_at)
{
    bool is_whole;

    pthread_mutex_lock(&p->lock);
    *ret_at = p->at;
    buf_put_span(out, buf_span(&p->snapshot));
    is_whole = deltas_from(&p->deltas, p->at.epoch, p->snapshot_at.revision, SIZE_MAX, out) &&
               p->snapshot_at.epoch == p->at.epoch;
    pthread_mutex_unlock(&p->lock);
    return is_whole && !buf_error(out);
}

/* Meanwhile another may have been made, the epoch raised, the key retired. */
static bool is_wanted(const struct publisher *p, const struct state_position *at, const struct buf *document)
{
    return at->epoch == p->at.epoch && at->epoch == p->snapshot_at.epoch &&
           at->revision > p->snapshot_at.revision && publish_is_known(p, buf_span(document));
}

static void *snapshot_main(void *arg)
{
    struct publisher *p = arg;
    AUTO(buf_deinit) struct buf documents, document;
    struct state_position at;
    int r = -ESTALE;

    buf_init_heap(&documents, DOCUMENT_SIZE_MAX + PUBLISH_BYTES_MAX);
    buf_init_heap(&document, DOCUMENT_SIZE_MAX);
    if (gather(p, &documents, &at))
        r = snapshot_merge(p, buf_span(&documents), &at, &document);
    if (r)
        LOG(ERROR, "publish.snapshot-failed", U("revision", at.revision), E(r));
    pthread_mutex_lock(&p->lock);
    if (!r && is_wanted(p, &at, &document))
        snapshot_put(p, &document, &at);
    p->is_snapping = false;
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

void snapshot_join(struct publisher *p)
{
    if (p->has_snapshot_thread)
        pthread_join(p->snapshot_thread, NULL);
    p->has_snapshot_thread = false;
}

int snapshot_keep_up(struct publisher *p)
{
    bool is_begun;
    int r;

    pthread_mutex_lock(&p->lock);
    is_begun = !p->is_snapping && is_due(p);
    if (is_begun)
        p->snapshot_ms = store_now_ms(p->options.store);
    p->is_snapping |= is_begun;
    pthread_mutex_unlock(&p->lock);
    if (!is_begun)
        return 0;
    snapshot_join(p);                   /* the one before has ended, or is about to */
    r = -pthread_create(&p->snapshot_thread, NULL, snapshot_main, p);
    p->has_snapshot_thread = !r;
    if (r) {
        pthread_mutex_lock(&p->lock);
        p->is_snapping = false;
        pthread_mutex_unlock(&p->lock);
    }
    return r;
}
