#include "controlplane/publish/rotation.h"
#include "controlplane/publish/keyring_internal.h"
#include "lib/log/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const purposes[] = { "state", "credential" };

bool rotation_is_purpose(struct span name)
{
    for (size_t i = 0; i < ARRAY_LEN(purposes); i++) {
        if (span_eq(span_str(purposes[i]), name))
            return true;
    }
    return false;
}

/* ---- the plan: "ACTIVATE RETIRE" ---- */
static const char *plan_key(const char *purpose, char dst[48])
{
    snprintf(dst, 48, "rotation.%s", purpose);
    return dst;
}

int rotation_get(struct store_tx *tx, const char *purpose, struct rotation *ret_rotation)
{
    char mem[64], key[48];
    uint64_t activate_ms, retire_ms;
    struct span rest, first;
    struct buf text;
    int r;

    *ret_rotation = (struct rotation){ 0 };
    buf_init_fixed(&text, mem, sizeof(mem));
    r = store_meta_get(tx, plan_key(purpose, key), &text);
    if (r)
        return r == STORE_E_NOT_FOUND ? 0 : r;
    rest = buf_span(&text);
    if (!span_cut(&rest, ' ', &first) || !span_to_u64(first, INT64_MAX, &activate_ms) ||
        !span_to_u64(rest, INT64_MAX, &retire_ms))
        return -EUCLEAN;
    *ret_rotation = (struct rotation){ (int64_t)activate_ms, (int64_t)retire_ms };
    return 0;
}

static int put_plan(struct store_tx *tx, const char *purpose, const struct rotation *rotation)
{
    char mem[64], key[48];
    struct buf text;

    buf_init_fixed(&text, mem, sizeof(mem));
    buf_printf(&text, "%lld %lld", (long long)rotation->activate_ms, (long long)rotation->retire_ms);
    return store_meta_put(tx, plan_key(purpose, key), buf_span(&text));
}

/* ---- the serial ---- */
static int next_serial(struct store_tx *tx, uint64_t by, uint64_t *ret_serial)
{
    char mem[24];
    struct buf text;
    uint64_t serial = 1;
    int r;

    buf_init_fixed(&text, mem, sizeof(mem));
    r = store_meta_get(tx, KEYRING_SERIAL_META, &text);
    if (r && r != STORE_E_NOT_FOUND)
        return r;
    if (!r && !span_to_u64(buf_span(&text), INT64_MAX / 2, &serial))
        return -EUCLEAN;
    *ret_serial = serial + by;
    buf_clear(&text);
    buf_put_decimal(&text, (int64_t)*ret_serial);
    return store_meta_put(tx, KEYRING_SERIAL_META, buf_span(&text));
}

/* Others learn of it by the state. */
int keyring_renumber(const struct keyring *keys, struct store_tx *tx, uint64_t by)
{
    char json[64];
    uint64_t serial = 0;
    int r = next_serial(tx, by, &serial);

    if (!r)
        r = keyring_sign_set(keys, tx, serial);
    snprintf(json, sizeof(json), "{\"value\":\"%llu\"}", (unsigned long long)serial);
    return r ? r : store_state_put(tx, "setting", SPAN("keys"), span_str(json));
}

/* ---- beginning ---- */
static int find_last(void *ctx, const struct store_key *row)
{
    *(int64_t *)ctx = row->number;
    return 0;
}

int rotation_begin(struct store_tx *tx, const struct keyring *keys, const char *purpose, int64_t overlap_ms)
{
    int64_t now_ms = (int64_t)store_now_ms(store_of(tx)), last = 0;
    struct rotation plan;
    int r = rotation_get(tx, purpose, &plan);

    if (r || plan.activate_ms)
        return r ? r : ROTATION_E_BUSY;
    r = store_keys(tx, purpose, find_last, &last);
    if (!r)
        r = keyring_make(keys, tx, purpose, last + 1, "next");
    plan.activate_ms = now_ms + ROTATION_LEAD_MS;
    plan.retire_ms = plan.activate_ms + overlap_ms;
    if (!r)
        r = put_plan(tx, purpose, &plan);
    return r ? r : keyring_renumber(keys, tx, 1);
}

/* ---- steps ---- */
struct shift {
    const char *from, *to;
    int64_t numbers[KEYRING_KEYS_MAX];
    size_t count;
};

static int find_shifted(void *ctx, const struct store_key *row)
{
    struct shift *s = ctx;

    if (strcmp(row->status, s->from) == 0 && s->count < ARRAY_LEN(s->numbers))
        s->numbers[s->count++] = row->number;
    return 0;
}

static int shift(struct store_tx *tx, const char *purpose, const char *from, const char *to, size_t *ret_count)
{
    struct shift s = { .from = from, .to = to };
    int r = store_keys(tx, purpose, find_shifted, &s);

    for (size_t i = 0; !r && i < s.count; i++) {
        r = strcmp(to, "retired") == 0 ? store_key_retire(tx, purpose, s.numbers[i]) :
                                         store_key_set_status(tx, purpose, s.numbers[i], to);
        if (!r)
            LOG(INFO, "key.rotated", S("purpose", purpose), N("number", s.numbers[i]), S("status", to));
    }
    *ret_count = s.count;
    return r;
}

static int activate(struct store_tx *tx, const char *purpose, bool *ret_has_changed)
{
    size_t next = 0, before;
    struct shift s = { .from = "next" };
    int r = store_keys(tx, purpose, find_shifted, &s);

    if (r || !s.count)
        return r;
    r = shift(tx, purpose, "active", "retiring", &before);
    if (!r)
        r = shift(tx, purpose, "next", "active", &next);
    *ret_has_changed = true;
    return r;
}

static int retire(struct store_tx *tx, const char *purpose, bool *ret_has_changed)
{
    const struct rotation none = { 0 };
    size_t count;
    int r = shift(tx, purpose, "retiring", "retired", &count);

    *ret_has_changed = true;
    return r ? r : put_plan(tx, purpose, &none);
}

static int step_one(struct store_tx *tx, const char *purpose, bool may_retire, bool *ret_has_changed)
{
    int64_t now_ms = (int64_t)store_now_ms(store_of(tx));
    struct rotation plan;
    bool was_next = false;
    int r = rotation_get(tx, purpose, &plan);

    if (r || !plan.activate_ms || now_ms < plan.activate_ms)
        return r;
    r = activate(tx, purpose, &was_next);
    *ret_has_changed |= was_next;
    /* The state key's turn to go comes when nothing is signed by it any more. */
    if (r || now_ms < plan.retire_ms || (strcmp(purpose, "state") == 0 && (was_next || !may_retire)))
        return r;
    return retire(tx, purpose, ret_has_changed);
}

int rotation_step(struct store_tx *tx, const struct keyring *keys, bool may_retire, bool *ret_has_changed)
{
    int r = 0;

    *ret_has_changed = false;
    for (size_t i = 0; !r && i < ARRAY_LEN(purposes); i++)
        r = step_one(tx, purposes[i], may_retire, ret_has_changed);
    return r || !*ret_has_changed ? r : keyring_renumber(keys, tx, 1);
}

static int compare(struct store_tx *tx, const struct keyring *keys, bool *ret_is_fresh)
{
    char mem[24];
    struct buf text;
    int r;

    buf_init_fixed(&text, mem, sizeof(mem));
    r = store_meta_get(tx, KEYRING_SERIAL_META, &text);
    *ret_is_fresh = r == STORE_E_NOT_FOUND || (!r && span_eq(buf_span(&text), span_str(keyring_serial(keys))));
    return r == STORE_E_NOT_FOUND ? 0 : r;
}

int rotation_refresh(struct store_tx *tx, struct keyring *keys, bool *ret_has_changed)
{
    bool is_fresh;
    int r = compare(tx, keys, &is_fresh);

    *ret_has_changed = false;
    if (r || is_fresh)
        return r;
    r = generation_load(keys, tx);
    *ret_has_changed = !r;
    return r;
}
