#include "controlplane/bootstrap.h"
#include "controlplane/routes/change.h"
#include "controlplane/routes/second.h"
#include "lib/base/encode.h"
#include "lib/crypto/file.h"
#include "lib/crypto/password.h"
#include "lib/crypto/random.h"
#include "lib/crypto/secret.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ADMIN "admin"
#define TOKEN "bootstrap"

struct fresh {                          /* secrets that are shown once */
    char password[32], phc[PASSWORD_PHC_MAX];
    char token[API_TOKEN_LEN + 1], token_hash[SHA256_HEX], fingerprint[13];
};

static void fresh_wipe(struct fresh *f)
{
    secret_wipe(f, sizeof(*f));
}

static int fresh_make(struct fresh *f)
{
    const struct password_cost cost = PASSWORD_COST_DEFAULT;
    unsigned char random[18];
    struct buf text;

    random_bytes(random, sizeof(random));
    buf_init_fixed(&text, f->password, sizeof(f->password) - 1);
    base64url_encode(span_of(random, sizeof(random)), &text);
    secret_wipe(random, sizeof(random));
    api_token_make(f->token);
    api_token_hash(span_str(f->token), f->token_hash);
    snprintf(f->fingerprint, sizeof(f->fingerprint), "%.12s", f->token_hash);
    return password_hash(span_str(f->password), &cost, f->phc);
}

static struct change change_here(struct store_tx *tx, const char *action)
{
    return (struct change){ .tx = tx, .event = { .actor_kind = "system", .actor_name = SPAN("bootstrap"),
                                                 .action = action } };
}

/* The way back in is not barred by a phone that was lost. */
static int forget_second(struct store_tx *tx, const struct ulid *admin)
{
    int r = second_forget(tx, admin);

    return r == STORE_E_NOT_FOUND ? 0 : r;
}

static int put_admin(struct store_tx *tx, const struct fresh *f, struct ulid *ret_id)
{
    AUTO(store_object_freep) struct store_object *old = NULL;
    struct change change = change_here(tx, "users.bootstrap");
    struct change_object admin = { .kind = kind_at(KIND_USER), .name = SPAN(ADMIN),
                                   .doc = SPAN("{\"status\":\"active\",\"role\":\"admin\"}"),
                                   .secret = { "password", span_str(f->phc), "" },
                                   .created_by = "", .managed_by = "" };
    int64_t version;
    int r;

    r = store_object_find(tx, "user", SPAN(ADMIN), &old);
    if (r && r != STORE_E_NOT_FOUND)
        return r;
    *ret_id = admin.id = old ? old->id : store_new_id(store_of(tx));
    r = old ? forget_second(tx, &old->id) : 0;
    if (r)
        return r;
    return old ? change_update(&change, &admin, 0, &version) : change_insert(&change, &admin);
}

static int put_token(struct store_tx *tx, const struct fresh *f, const struct ulid *admin)
{
    AUTO(store_object_freep) struct store_object *old = NULL;
    struct change change = change_here(tx, "api-tokens.bootstrap");
    struct change_ref user = { .field = "user", .to = *admin };
    struct change_object token = { .kind = kind_at(KIND_API_TOKEN), .name = SPAN(TOKEN), .refs = &user,
                                   .ref_count = 1, .created_by = admin->text, .managed_by = "",
                                   .secret = { "api-token", span_str(f->token_hash), f->fingerprint } };
    char doc[128];
    int r;

    snprintf(doc, sizeof(doc), "{\"user\":\"%s\",\"scopes\":[\"*:*\"]}", admin->text);
    token.doc = span_str(doc);
    token.id = store_new_id(store_of(tx));
    r = store_object_find(tx, "api-token", SPAN(TOKEN), &old);
    if (!r)
        r = change_delete(&change, kind_at(KIND_API_TOKEN), &old->id, 0);
    else if (r == STORE_E_NOT_FOUND)
        r = 0;
    return r ? r : change_insert(&change, &token);
}

static int keep(struct place *place, const struct fresh *f)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    struct ulid admin;
    int r;

    r = store_begin(place->store, STORE_WRITE, &tx);
    if (!r)
        r = put_admin(tx, f, &admin);
    if (!r)
        r = put_token(tx, f, &admin);
    return r ? r : store_commit(&tx, NULL);
}

static int show(const struct controlplane_config *config, const struct fresh *f, struct buf *reterr)
{
    char mem[512];
    struct buf text;
    int r;

    buf_init_fixed(&text, mem, sizeof(mem));
    buf_printf(&text, "# The first administrator.  Whoever reads this file rules the cluster.\n"
               "user %s\npassword %s\ntoken %s\n", ADMIN, f->password, f->token);
    if (!config->credentials_file[0])
        r = write(STDOUT_FILENO, text.data, text.len) == (ssize_t)text.len ? 0 : -EIO;
    else
        r = file_write_atomic(config->credentials_file, buf_span(&text), 0600);
    secret_wipe(mem, sizeof(mem));
    if (r)
        buf_printf(reterr, "%s: %s", config->credentials_file, strerrordesc_np(-r));
    return r;
}

int bootstrap(const struct controlplane_config *config, struct place *place, struct buf *reterr)
{
    AUTO(fresh_wipe) struct fresh fresh = { "" };
    int r;

    if (config->credentials_file[0] && access(config->credentials_file, F_OK) == 0)
        return 0;
    if (!config->credentials_file[0] && !isatty(STDOUT_FILENO)) {
        buf_printf(reterr, "standard output is no terminal: name a file with --credentials-file");
        return -EINVAL;
    }
    r = fresh_make(&fresh);
    if (!r)
        r = keep(place, &fresh);
    if (r) {
        buf_printf(reterr, "the administrator could not be made (%d)", r);
        return r < 0 ? r : -EIO;
    }
    /* After the commit: a crash in between leaves no file, and the next run makes it anew. */
    return show(config, &fresh, reterr);
}
