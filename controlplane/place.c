#include "controlplane/place.h"
#include "lib/crypto/file.h"
#include "lib/crypto/random.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

static const char *path_in(const struct controlplane_config *config, const char *name, char *dst, size_t size)
{
    if ((size_t)snprintf(dst, size, "%s/%s", config->data_dir, name) >= size)
        dst[0] = '\0';
    return dst;
}

struct store_options place_store(const struct controlplane_config *config, char *path, size_t size)
{
    return (struct store_options){
        .path = path_in(config, "adit.db", path, size), .url = config->store,
        .password = config->store_password, .readers = (unsigned)config->threads, .writer = "",
        .wait_ms = (unsigned)config->store_wait_ms, .statement_ms = (unsigned)config->store_statement_ms,
    };
}

static int explain(int r, const char *path, struct buf *reterr)
{
    if (r && !reterr->len)
        buf_printf(reterr, "%s: %s", path, strerrordesc_np(r < 0 ? -r : EIO));
    return r;
}

static int take_lock(const struct controlplane_config *config, struct place *p, struct buf *reterr)
{
    char path[PATH_MAX];

    p->lock_fd = open(path_in(config, "lock", path, sizeof(path)), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (p->lock_fd < 0)
        return explain(-errno, path, reterr);
    if (flock(p->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    buf_printf(reterr, "another control plane serves from %s", config->data_dir);
    return -EBUSY;
}

/* The id names this installation's audit chain: made once, kept. */
static int load_id(const struct controlplane_config *config, struct place *p, struct buf *reterr)
{
    AUTO(buf_deinit) struct buf text;
    char path[PATH_MAX];
    int r;

    buf_init_heap(&text, 64);
    r = file_read(path_in(config, "id", path, sizeof(path)), 64, &text);
    if (!r && ulid_parse(span_trim(span_first(buf_span(&text), ULID_LEN)), &p->id))
        return 0;
    if (r != -ENOENT)
        return explain(r ? r : -EINVAL, path, reterr);
    p->id = random_ulid((uint64_t)time(NULL) * 1000);
    return explain(file_write_atomic(path, ulid_span(&p->id), 0600), path, reterr);
}

static int load_kek(const struct controlplane_config *config, struct place *p, struct buf *reterr)
{
    char path[PATH_MAX];

    if (config->key_file[0])
        return explain(kek_load(config->key_file, &p->kek), config->key_file, reterr);
    path_in(config, "kek", path, sizeof(path));
    return explain(kek_load_or_make(path, &p->kek), path, reterr);
}

static int open_store(const struct controlplane_config *config, struct place *p, struct buf *reterr)
{
    char path[PATH_MAX];
    struct store_options options = place_store(config, path, sizeof(path));

    options.writer = p->id.text;
    return store_open(&options, &p->store, reterr);
}

int place_want_store(const struct controlplane_config *config, struct buf *reterr)
{
    char path[PATH_MAX];
    struct store_options options = place_store(config, path, sizeof(path));

    if (options.url[0] || access(path, F_OK) == 0)
        return 0;
    buf_printf(reterr, "%s: %s; --data-dir names where the database is", path, strerrordesc_np(errno));
    return -ENOENT;
}

int place_open_store(const struct controlplane_config *config, bool is_serving, struct place *ret_place,
                     struct buf *reterr)
{
    AUTO(place_deinit) struct place p = { .lock_fd = -1 };
    int r;

    r = explain(dir_make(config->data_dir, 0700), config->data_dir, reterr);
    if (!r && is_serving)
        r = take_lock(config, &p, reterr);
    if (!r)
        r = load_id(config, &p, reterr);
    if (!r)
        r = open_store(config, &p, reterr);
    if (r)
        return r;
    *ret_place = p;
    p = (struct place){ .lock_fd = -1 };
    return 0;
}

int place_open(const struct controlplane_config *config, bool is_serving, struct place *ret_place,
               struct buf *reterr)
{
    AUTO(place_deinit) struct place p = { .lock_fd = -1 };
    int r;

    r = place_open_store(config, is_serving, &p, reterr);
    if (!r)
        r = load_kek(config, &p, reterr);
    if (!r)
        r = keyring_load(p.store, config->cluster, &p.kek, &p.keys, reterr);
    if (r)
        return r;
    *ret_place = p;
    p = (struct place){ .lock_fd = -1 };
    return 0;
}

void place_deinit(struct place *p)
{
    if (p->keys)
        keyring_free(p->keys);
    if (p->store)
        store_close(p->store);
    kek_wipe(&p->kek);
    fd_closep(&p->lock_fd);
}

int place_write_ca(const struct controlplane_config *config, const struct place *p, struct buf *reterr)
{
    AUTO(buf_deinit) struct buf old;

    buf_init_heap(&old, 1 << 16);
    if (!config->ca_file[0])
        return 0;
    if (!file_read(config->ca_file, 1 << 16, &old) && span_eq(buf_span(&old), keyring_root_pem(p->keys)))
        return 0;
    return explain(file_write_atomic(config->ca_file, keyring_root_pem(p->keys), 0644), config->ca_file, reterr);
}
