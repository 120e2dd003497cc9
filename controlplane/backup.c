#include "controlplane/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

static void filep(FILE **f)
{
    if (*f)
        fclose(*f);
}

static int explain(int r, const char *path, struct buf *reterr)
{
    if (r && !reterr->len)
        buf_printf(reterr, "%s: %s", path, strerrordesc_np(r < 0 ? -r : EIO));
    return r;
}

static void tell(const struct store_backup *b, const char *word)
{
    fprintf(stderr, "%llu rows %s, epoch %llu, revision %llu\n", (unsigned long long)b->rows, word,
            (unsigned long long)b->position.epoch, (unsigned long long)b->position.revision);
}

static int write_all(struct store *store, FILE *out, struct store_backup *ret_backup)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    int r;

    r = store_begin(store, STORE_READ, &tx);
    return r ? r : store_backup(tx, out, ret_backup);
}

/* Beside the path, synced, then renamed over it. */
static int write_file(struct store *store, const char *path, struct store_backup *ret_backup)
{
    AUTO(filep) FILE *out = NULL;
    char beside[PATH_MAX];
    int fd, r;

    if ((size_t)snprintf(beside, sizeof(beside), "%s.part", path) >= sizeof(beside))
        return -ENAMETOOLONG;
    fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    out = fdopen(fd, "w");
    if (!out) {
        close(fd);
        return -ENOMEM;
    }
    r = write_all(store, out, ret_backup);
    if (!r && (fflush(out) || fsync(fd) || rename(beside, path)))
        r = -errno;
    if (r)
        unlink(beside);
    return r;
}

int backup(const struct controlplane_config *config, struct buf *reterr)
{
    AUTO(place_deinit) struct place place = { .lock_fd = -1 };
    struct store_backup done = { 0 };
    int r;

    r = place_want_store(config, reterr);
    if (!r)
        r = place_open_store(config, false, &place, reterr);
    if (r)
        return r;
    r = config->backup_file[0] ? write_file(place.store, config->backup_file, &done)
                               : write_all(place.store, stdout, &done);
    if (!r)
        tell(&done, "written");
    return explain(r, config->backup_file[0] ? config->backup_file : "standard output", reterr);
}

static int read_all(struct store *store, FILE *in, struct store_backup *ret_backup, struct buf *reterr)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    int r;

    r = store_begin(store, STORE_WRITE, &tx);
    if (!r)
        r = store_restore(tx, in, ret_backup, reterr);
    return r ? r : store_commit(&tx, NULL);
}

int restore(const struct controlplane_config *config, struct buf *reterr)
{
    AUTO(place_deinit) struct place place = { .lock_fd = -1 };
    AUTO(filep) FILE *in = NULL;
    struct store_backup done = { 0 };
    int r;

    if (!config->backup_file[0]) {
        buf_printf(reterr, "--backup-file says what to restore");
        return -EINVAL;
    }
    in = fopen(config->backup_file, "re");
    if (!in)
        return explain(-errno, config->backup_file, reterr);
    r = place_open_store(config, true, &place, reterr);
    if (!r)
        r = read_all(place.store, in, &done, reterr);
    if (r)
        return explain(r, config->backup_file, reterr);
    tell(&done, "restored");
    fprintf(stderr, "the keys are those of the backup: if one was rotated since it was made, it counts again; "
                    "then rotate both (adit key rotate state, adit key rotate credential)\n");
    return 0;
}
