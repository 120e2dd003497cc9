#pragma once
#include "controlplane/config.h"
#include "controlplane/publish/keyring.h"
#include "controlplane/store/store.h"
/*
 * place.h - what lies in the data directory: database, sealing key, this process's id.
 *
 * Shape      adit.db (and -wal, -shm), kek, id, lock; directory 0700, files 0600.
 * Ownership  place_deinit() closes what was opened.
 * Errors     -errno or a store's condition, with a sentence in reterr.
 */
struct place {
    int lock_fd;                        /* -1: not locked */
    struct ulid id;
    struct kek kek;
    struct store *store;
    struct keyring *keys;
};

/* `is_serving`: nobody else may serve from the directory meanwhile. */
MUST_CHECK int place_open(const struct controlplane_config *config, bool is_serving,
                          struct place *ret_place, struct buf *reterr);
/* The same without keys: for what works on the database alone. */
MUST_CHECK int place_open_store(const struct controlplane_config *config, bool is_serving,
                                struct place *ret_place, struct buf *reterr);
/* -ENOENT with a sentence: there is no database file, and none shall be made. */
MUST_CHECK int place_want_store(const struct controlplane_config *config, struct buf *reterr);
void place_deinit(struct place *place);
/* Where the database is; `path` of PATH_MAX bytes is pointed into. */
struct store_options place_store(const struct controlplane_config *config, char *path, size_t size);
/* Writes the root certificate where ca_file says. */
MUST_CHECK int place_write_ca(const struct controlplane_config *config, const struct place *place,
                              struct buf *reterr);
