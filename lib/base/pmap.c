#include "lib/base/pmap.h"
#include "lib/base/hash.h"
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

/*
 * A branch has up to 32 children, one bit of its bitmap each, chosen by 5 bits of the hash.
 * A bucket has a few entries with their hashes beside them, so that a look-up touches no entry
 * but the one it wants; it may stand at any depth, and becomes a branch when it is full.  Where
 * the hash is used up (shift >= HASH_BITS) it may have any number.
 */
enum { HASH_BITS = 64, LEVEL_BITS = 5, FANOUT = 1 << LEVEL_BITS, BUCKET_MAX = 8 };

struct pmap_node {
    atomic_uint refs;
    uint32_t bitmap;            /* of a branch */
    uint32_t count;             /* children or slots */
    bool is_bucket;
};

/* A key with its value, where values do not know their keys. */
struct entry {
    atomic_uint refs;
    uint32_t key_len;
    void *value;
    char key[];
};

struct slot {
    uint64_t hash;
    void *item;                 /* struct entry, or the value itself */
};

struct bucket {
    struct pmap_node node;
    struct slot slots[];
};

struct branch {
    struct pmap_node node;
    struct pmap_node *children[];
};

static struct bucket *as_bucket(const struct pmap_node *node)
{
    return container_of(node, struct bucket, node);
}

static struct branch *as_branch(const struct pmap_node *node)
{
    return container_of(node, struct branch, node);
}

/* Items. */

static void *item_ref(const struct pmap_values *values, void *item)
{
    if (!values->has_key)
        atomic_fetch_add_explicit(&((struct entry *)item)->refs, 1, memory_order_relaxed);
    else if (values->ref)
        values->ref(item);
    return item;
}

static void item_unref(const struct pmap_values *values, void *item)
{
    struct entry *entry = item;
    void *value = item;

    if (!values->has_key) {
        if (atomic_fetch_sub_explicit(&entry->refs, 1, memory_order_acq_rel) != 1)
            return;
        value = entry->value;
        free(entry);
    }
    if (values->unref)
        values->unref(value);
}

static void *item_value(const struct pmap_values *values, void *item)
{
    return values->has_key ? item : ((struct entry *)item)->value;
}

static inline bool item_is(const struct pmap_values *values, const void *item, struct span key)
{
    const struct entry *entry = item;

    if (values->has_key)
        return values->has_key(item, key);
    return span_eq(span_of(entry->key, entry->key_len), key);
}

static void *item_new(const struct pmap_values *values, struct span key, void *value)
{
    struct entry *entry = NULL;

    if (!values->has_key) {
        if (key.n > UINT32_MAX)
            return NULL;
        entry = malloc(sizeof(*entry) + key.n);
        if (!entry)
            return NULL;
        atomic_init(&entry->refs, 1);
        entry->key_len = (uint32_t)key.n;
        entry->value = value;
        if (key.n)
            memcpy(entry->key, key.p, key.n);
    }
    if (values->ref)
        values->ref(value);
    return values->has_key ? value : entry;
}

/* Nodes. */

static size_t node_size(bool is_bucket, size_t count)
{
    return sizeof(struct pmap_node) +
           count * (is_bucket ? sizeof(struct slot) : sizeof(struct pmap_node *));
}

/* Room for an even number of slots, for four children: less work while it grows one by one. */
static size_t node_room(bool is_bucket, size_t count)
{
    size_t step = is_bucket ? 2 : 4;

    return node_size(is_bucket, (count + step - 1) / step * step);
}

static struct pmap_node *node_new(bool is_bucket, size_t count)
{
    struct pmap_node *node = malloc(node_room(is_bucket, count));

    if (!node)
        return NULL;
    atomic_init(&node->refs, 1);
    node->bitmap = 0;
    node->count = (uint32_t)count;
    node->is_bucket = is_bucket;
    return node;
}

static struct pmap_node *node_ref(struct pmap_node *node)
{
    if (node)
        atomic_fetch_add_explicit(&node->refs, 1, memory_order_relaxed);
    return node;
}

/* Recursion is bounded by PMAP_DEPTH_MAX. */
static void node_unref(const struct pmap_values *values, struct pmap_node *node)
{
    if (!node || atomic_fetch_sub_explicit(&node->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < node->count; i++) {
        if (node->is_bucket)
            item_unref(values, as_bucket(node)->slots[i].item);
        else
            node_unref(values, as_branch(node)->children[i]);
    }
    free(node);
}

/* Makes the node of this cell its own: nobody else sees it, so it may be changed. */
static int node_own(const struct pmap_values *values, struct pmap_node **cell)
{
    struct pmap_node *old = *cell, *own;

    if (atomic_load_explicit(&old->refs, memory_order_acquire) == 1)
        return 0;
    own = node_new(old->is_bucket, old->count);
    if (!own)
        return -ENOMEM;
    own->bitmap = old->bitmap;
    for (size_t i = 0; i < old->count; i++) {
        if (old->is_bucket) {
            as_bucket(own)->slots[i] = as_bucket(old)->slots[i];
            item_ref(values, as_bucket(own)->slots[i].item);
        } else {
            as_branch(own)->children[i] = node_ref(as_branch(old)->children[i]);
        }
    }
    node_unref(values, old);
    *cell = own;
    return 0;
}

/* Room for one more at the end; `count` is still as it was. */
static int node_grow(struct pmap_node **cell)
{
    size_t room = node_room((*cell)->is_bucket, (*cell)->count + 1u);
    struct pmap_node *grown = *cell;

    if (room != node_room((*cell)->is_bucket, (*cell)->count))
        grown = realloc(*cell, room);
    if (!grown)
        return -ENOMEM;
    *cell = grown;
    return 0;
}

static uint32_t level_bit(uint64_t hash, unsigned shift)
{
    return 1u << (hash >> shift & (FANOUT - 1));
}

/* Without the instruction, which the oldest machines lack, the compiler would call a function. */
static inline size_t bits_set(uint32_t v)
{
    v -= v >> 1 & 0x55555555u;
    v = (v & 0x33333333u) + (v >> 2 & 0x33333333u);
    return (((v + (v >> 4)) & 0x0f0f0f0fu) * 0x01010101u) >> 24;
}

static inline size_t child_at(const struct pmap_node *branch, uint32_t bit)
{
    return bits_set(branch->bitmap & (bit - 1));
}

/* The slot's index, or the bucket's count. */
static inline size_t slot_at(const struct pmap_values *values, const struct pmap_node *bucket,
                             uint64_t hash, struct span key)
{
    const struct slot *slots = as_bucket(bucket)->slots;
    size_t i = 0;

    while (i < bucket->count && (slots[i].hash != hash || !item_is(values, slots[i].item, key)))
        i++;
    return i;
}

static int bucket_append(struct pmap_node **cell, struct slot slot)
{
    int r = node_grow(cell);

    if (r == 0)
        as_bucket(*cell)->slots[(*cell)->count++] = slot;
    return r;
}

/* A bucket of that one slot, as a new child of the branch. */
static int branch_insert(struct pmap_node **cell, uint32_t bit, struct slot slot)
{
    struct pmap_node *bucket = node_new(true, 1), **children;
    size_t at = child_at(*cell, bit);

    if (!bucket || node_grow(cell)) {
        free(bucket);
        return -ENOMEM;
    }
    as_bucket(bucket)->slots[0] = slot;
    children = as_branch(*cell)->children;
    memmove(children + at + 1, children + at, ((*cell)->count - at) * sizeof(*children));
    children[at] = bucket;
    (*cell)->bitmap |= bit;
    (*cell)->count++;
    return 0;
}

/* The shells of a branch that goes wrong: the slots still belong to the bucket. */
static int branch_abandon(struct pmap_node *branch)
{
    for (size_t i = 0; i < branch->count; i++)
        free(as_branch(branch)->children[i]);
    free(branch);
    return -ENOMEM;
}

/* The cell's own bucket becomes a branch with the same slots. */
static int bucket_split(struct pmap_node **cell, unsigned shift)
{
    struct pmap_node *bucket = *cell, *branch = node_new(false, 0);

    if (!branch)
        return -ENOMEM;
    for (size_t i = 0; i < bucket->count; i++) {
        const struct slot slot = as_bucket(bucket)->slots[i];
        uint32_t bit = level_bit(slot.hash, shift);
        int r = branch->bitmap & bit
            ? bucket_append(&as_branch(branch)->children[child_at(branch, bit)], slot)
            : branch_insert(&branch, bit, slot);

        if (r)
            return branch_abandon(branch);
    }
    free(bucket);
    *cell = branch;
    return 0;
}

/* Puts the slot (its reference goes over on success) below the cell. */
static int node_put(const struct pmap_values *values, struct pmap_node **cell, struct slot slot,
                    struct span key, bool *ret_is_new)
{
    unsigned shift = 0;
    size_t at;
    int r;

    for (;; shift += LEVEL_BITS) {
        r = node_own(values, cell);
        if (r)
            return r;
        if ((*cell)->is_bucket) {
            at = slot_at(values, *cell, slot.hash, key);
            *ret_is_new = at == (*cell)->count;
            if (!*ret_is_new) {
                item_unref(values, as_bucket(*cell)->slots[at].item);
                as_bucket(*cell)->slots[at] = slot;
                return 0;
            }
            if ((*cell)->count < BUCKET_MAX || shift >= HASH_BITS)
                return bucket_append(cell, slot);
            r = bucket_split(cell, shift);
            if (r)
                return r;
        }
        if (!((*cell)->bitmap & level_bit(slot.hash, shift))) {
            *ret_is_new = true;
            return branch_insert(cell, level_bit(slot.hash, shift), slot);
        }
        cell = &as_branch(*cell)->children[child_at(*cell, level_bit(slot.hash, shift))];
    }
}

static void remove_at(struct pmap_node *node, size_t at, uint32_t bit)
{
    size_t size = node_size(node->is_bucket, 1) - node_size(node->is_bucket, 0);
    char *from = (char *)node + node_size(node->is_bucket, at);

    node->count--;
    memmove(from, from + size, (node->count - at) * size);
    node->bitmap &= ~bit;
}

/* Takes out the key, which is there.  What is left empty goes; a branch with one bucket only is
 * that bucket. */
static int node_remove(const struct pmap_values *values, struct pmap_node **cell, uint64_t hash,
                       struct span key, unsigned shift)
{
    struct pmap_node *node;
    size_t at;
    int r = node_own(values, cell);

    if (r)
        return r;
    node = *cell;
    if (node->is_bucket) {
        at = slot_at(values, node, hash, key);
        item_unref(values, as_bucket(node)->slots[at].item);
        remove_at(node, at, 0);
    } else {
        at = child_at(node, level_bit(hash, shift));
        r = node_remove(values, &as_branch(node)->children[at], hash, key, shift + LEVEL_BITS);
        if (r)
            return r;
        if (!as_branch(node)->children[at])
            remove_at(node, at, level_bit(hash, shift));
    }
    if (node->count == 0)
        *cell = NULL;
    else if (!node->is_bucket && node->count == 1 && as_branch(node)->children[0]->is_bucket)
        *cell = as_branch(node)->children[0];
    if (*cell != node)
        free(node);
    return 0;
}

uint64_t pmap_hash(const struct pmap *m, struct span key)
{
    return m->values->hash ? m->values->hash(key) : hash_bytes(key);
}

void pmap_init(struct pmap *m, const struct pmap_values *values)
{
    *m = (struct pmap){ .values = values };
}

struct pmap pmap_share(const struct pmap *m)
{
    node_ref(m->root);
    return *m;
}

void pmap_deinit(struct pmap *m)
{
    node_unref(m->values, m->root);
    m->root = NULL;
    m->count = 0;
}

/* Where the way to the hash goes on; NULL: nowhere.  `branch` is one. */
static inline struct pmap_node *const *child_for(const struct pmap_node *branch, uint64_t hash,
                                                 unsigned shift)
{
    uint32_t bit = level_bit(hash, shift);

    return branch->bitmap & bit ? &as_branch(branch)->children[child_at(branch, bit)] : NULL;
}

static inline void *bucket_get(const struct pmap_values *values, const struct pmap_node *bucket,
                               uint64_t hash, struct span key)
{
    size_t at = slot_at(values, bucket, hash, key);

    return at < bucket->count ? item_value(values, as_bucket(bucket)->slots[at].item) : NULL;
}

static void *get_hashed(const struct pmap *m, uint64_t hash, struct span key)
{
    const struct pmap_node *node = m->root;

    for (unsigned shift = 0; node && !node->is_bucket; shift += LEVEL_BITS) {
        struct pmap_node *const *child = child_for(node, hash, shift);

        node = child ? *child : NULL;
    }
    return node ? bucket_get(m->values, node, hash, key) : NULL;
}

void *pmap_get(const struct pmap *m, struct span key)
{
    return m->root ? get_hashed(m, pmap_hash(m, key), key) : NULL;
}

/* Of an item as much as most questions need: three lines. */
#define CACHE_LINE 64
static inline void fetch(const void *p)
{
    __builtin_prefetch(p);
    __builtin_prefetch((const char *)p + CACHE_LINE);
    __builtin_prefetch((const char *)p + 2 * CACHE_LINE);
}

/* One level down, without waiting for what is there; false: is at the end. */
static inline bool probe_step(struct pmap_probe *probe, unsigned shift)
{
    struct pmap_node *const *child;

    if (!probe->node || probe->node->is_bucket)
        return false;
    child = child_for(probe->node, probe->hash, shift);
    probe->node = child ? *child : NULL;
    fetch(probe->node);
    return true;
}

/* The items with that hash (nearly always one, or none) are on their way. */
static inline void probe_touch(const struct pmap_probe *probe)
{
    const struct pmap_node *node = probe->node;

    for (size_t i = 0; node && i < node->count; i++) {
        if (as_bucket(node)->slots[i].hash == probe->hash)
            fetch(as_bucket(node)->slots[i].item);
    }
}

void pmap_get_all(struct pmap_probe *probes, size_t n)
{
    bool is_more = n > 0;

    for (size_t i = 0; i < n; i++)
        probes[i].node = probes[i].map->root;
    for (unsigned shift = 0; is_more; shift += LEVEL_BITS) {
        is_more = false;
        for (size_t i = 0; i < n; i++)
            is_more |= probe_step(&probes[i], shift);
    }
    for (size_t i = 0; i < n; i++)
        probe_touch(&probes[i]);
    for (size_t i = 0; i < n; i++) {
        struct pmap_probe *p = &probes[i];

        p->value = p->node ? bucket_get(p->map->values, p->node, p->hash, p->key) : NULL;
        if (p->value && !p->map->values->has_key)
            fetch(p->value);
    }
}

int pmap_set(struct pmap *m, struct span key, void *value)
{
    struct slot slot = { .hash = pmap_hash(m, key) };
    bool is_new = true;
    int r;

    if (!value)
        return -EINVAL;
    slot.item = item_new(m->values, key, value);
    if (!slot.item)
        return -ENOMEM;
    if (!m->root)
        m->root = node_new(true, 0);
    r = m->root ? node_put(m->values, &m->root, slot, key, &is_new) : -ENOMEM;
    if (r == 0) {
        m->count += is_new;
        return 0;
    }
    item_unref(m->values, slot.item);
    if (m->count == 0)
        pmap_deinit(m);
    return r;
}

int pmap_unset(struct pmap *m, struct span key)
{
    uint64_t hash = pmap_hash(m, key);
    int r;

    if (!get_hashed(m, hash, key))
        return 0;
    r = node_remove(m->values, &m->root, hash, key, 0);
    if (r)
        return r;
    m->count--;
    return 0;
}

int pmap_put(const struct pmap *m, struct span key, void *value, struct pmap *ret_map)
{
    struct pmap next = pmap_share(m);
    int r = pmap_set(&next, key, value);

    if (r)
        pmap_deinit(&next);
    else
        *ret_map = next;
    return r;
}

int pmap_remove(const struct pmap *m, struct span key, struct pmap *ret_map)
{
    struct pmap next = pmap_share(m);
    int r = pmap_unset(&next, key);

    if (r)
        pmap_deinit(&next);
    else
        *ret_map = next;
    return r;
}

/* Climbs to the nearest branch with a child that was not seen; that child, or NULL. */
static const struct pmap_node *cursor_climb(struct pmap_cursor *c)
{
    while (c->depth) {
        const struct pmap_node *node = c->path[c->depth - 1];
        size_t at = c->at[c->depth - 1]++;

        if (!node->is_bucket && at < node->count)
            return as_branch(node)->children[at];
        if (node->is_bucket && at < node->count)
            return node;
        c->depth--;
    }
    return NULL;
}

bool pmap_next(const struct pmap *m, struct pmap_cursor *cursor, struct span *ret_key,
               void **ret_value)
{
    const struct pmap_node *node = cursor->is_started ? cursor_climb(cursor) : m->root;
    const struct entry *entry;
    void *item;

    cursor->is_started = true;
    while (node && (!cursor->depth || cursor->path[cursor->depth - 1] != node)) {
        cursor->path[cursor->depth] = node;
        cursor->at[cursor->depth++] = 0;
        node = cursor_climb(cursor);
    }
    if (!node)
        return false;

    item = as_bucket(node)->slots[cursor->at[cursor->depth - 1] - 1].item;
    entry = item;
    *ret_key = m->values->has_key ? SPAN_NONE : span_of(entry->key, entry->key_len);
    *ret_value = item_value(m->values, item);
    return true;
}
