#include "lib/state/last_good.h"
#include "lib/crypto/file.h"
#include "lib/state/state_internal.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { SMALL_MAX = 65536 };
#define FILE_MAX (2 * DOCUMENT_SIZE_MAX)

static int path_of(const char *dir, const char *name, char ret_path[PATH_MAX])
{
    int n = snprintf(ret_path, PATH_MAX, "%s/%s", dir, name);

    return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static int save(const char *dir, const char *name, struct span bytes)
{
    char path[PATH_MAX];
    int r = path_of(dir, name, path);

    if (r == 0)
        r = dir_make(dir, 0700);
    return r ? r : file_write_atomic(path, bytes, 0600);
}

int last_good_save_keyset(const char *dir, struct span signed_keyset)
{
    return save(dir, "keyset", signed_keyset);
}

int last_good_save_head(const char *dir, struct span signed_head)
{
    return save(dir, "head", signed_head);
}

int last_good_save_snapshot(const char *dir, struct span signed_snapshot)
{
    return save(dir, "state", signed_snapshot);
}

int last_good_append_delta(const char *dir, struct span signed_delta)
{
    char path[PATH_MAX];
    int r = path_of(dir, "state", path);

    if (r == 0)
        r = dir_make(dir, 0700);
    return r ? r : file_append(path, signed_delta, 0600);
}

/* -ENOENT: not there. */
static int load(const char *dir, const char *name, size_t max, struct buf *out)
{
    char path[PATH_MAX];
    int r = path_of(dir, name, path);

    if (r)
        return r;
    buf_init_heap(out, max);
    return file_read(path, max, out);
}

static int load_keyset(const char *dir, const char *cluster, const struct key *root,
                       struct last_good *s, struct state_error *reterr)
{
    AUTO(buf_deinit) struct buf text = { 0 };
    int r = load(dir, "keyset", SMALL_MAX, &text);

    return r ? r : keyset_open(buf_span(&text), cluster, root, &s->keys, reterr);
}

static int load_head(const char *dir, struct last_good *s, struct state_error *reterr)
{
    AUTO(buf_deinit) struct buf text = { 0 };
    struct document d;
    struct span rest;
    int r = load(dir, "head", SMALL_MAX, &text);

    if (r)
        return r;
    rest = buf_span(&text);
    r = document_cut(&rest, &d, reterr);
    if (r == DOCUMENT_E_END || (r == 0 && rest.n > 0))
        return state_reject(reterr, "not exactly one head");
    return r ? r : state_head_open(&d, s->keys, &s->head, reterr);
}

/* What an append that a crash cut has left would make the next one unreadable. */
static int drop_tail(const char *dir, size_t len)
{
    char path[PATH_MAX];
    int r = path_of(dir, "state", path);

    if (r)
        return r;
    return truncate(path, (off_t)len) < 0 ? -errno : 0;
}

static int apply_next(const struct document *d, struct last_good *s, struct state_error *reterr)
{
    struct policy *next = NULL;
    int r = state_apply(d, s->keys, s->policy, &s->position, &next, &s->position, reterr);

    if (r == STATE_E_HAVE)
        return 0;
    if (r)
        return r;
    policy_unref(s->policy);
    s->policy = next;
    return 0;
}

static int load_state(const char *dir, struct last_good *s, struct state_error *reterr)
{
    AUTO(buf_deinit) struct buf text = { 0 };
    int r = load(dir, "state", FILE_MAX, &text);
    struct span rest = buf_span(&text);

    while (r == 0 && rest.n > 0) {
        bool is_short;
        struct document d;

        r = document_cut_or_short(&rest, &d, &is_short, reterr);
        if (r && is_short)
            return drop_tail(dir, text.len - rest.n);
        if (r == 0)
            r = apply_next(&d, s, reterr);
        s->state_bytes = text.len - rest.n;
    }
    return r;
}

/* One part after the other; what is not there is empty. */
static int load_all(const char *dir, const char *cluster, const struct key *root,
                    struct last_good *s, struct state_error *reterr)
{
    int r = load_keyset(dir, cluster, root, s, reterr);

    if (r)
        return r == -ENOENT ? 0 : r;
    r = load_head(dir, s, reterr);
    if (r && r != -ENOENT)
        return r;
    r = load_state(dir, s, reterr);
    return r == -ENOENT ? 0 : r;
}

int last_good_load(const char *dir, const char *cluster, const struct key *root,
                   struct last_good *ret_state, struct state_error *reterr)
{
    struct last_good s = { .position = STATE_POSITION_NONE };
    int r = load_all(dir, cluster, root, &s, reterr);

    if (r) {
        last_good_deinit(&s);
        return r;
    }
    *ret_state = s;
    return 0;
}

void last_good_deinit(struct last_good *s)
{
    keyset_unref(s->keys);
    policy_unref(s->policy);
    *s = (struct last_good){ 0 };
}
