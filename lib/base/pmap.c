#include "lib/base/pmap.h"
#include "lib/base/hash.h"
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

/*
 * A branch has up to 32 children, one bit of its bitmap each, chosen by 5 bits of the hash.
 * Where the hash is used up (shift >= HASH_BITS) a branch is a plain list of leaves with
 * one and the same hash.  A leaf may stand at any depth.
 */
#define HASH_BITS 64
#define LEVEL_BITS 5
#define LEVEL_MASK ((1u << LEVEL_BITS) - 1)

struct pmap_node {
    atomic_size_t refs;
    bool is_leaf;
};

struct leaf {
    struct pmap_node node;
    const struct pmap_values *values;
    uint64_t hash;
    void *value;
    size_t key_len;
    char key[];
};

struct branch {
    struct pmap_node node;
    uint32_t bitmap;
    size_t count;
    struct pmap_node *children[];
};

/* Where a key is, or would be, in a branch. */
struct slot {
    size_t at;
    uint32_t bit;               /* 0 in a list of leaves */
    bool is_taken;
};

static struct leaf *as_leaf(const struct pmap_node *node)
{
    return container_of(node, struct leaf, node);
}

static struct branch *as_branch(const struct pmap_node *node)
{
    return container_of(node, struct branch, node);
}

static struct pmap_node *node_ref(struct pmap_node *node)
{
    if (node)
        atomic_fetch_add_explicit(&node->refs, 1, memory_order_relaxed);
    return node;
}

static void leaf_free(struct leaf *leaf)
{
    if (leaf->values->unref)
        leaf->values->unref(leaf->value);
    free(leaf);
}

/* Recursion is bounded by PMAP_DEPTH_MAX. */
static void node_unref(struct pmap_node *node)
{
    struct branch *branch;

    if (!node || atomic_fetch_sub_explicit(&node->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (node->is_leaf) {
        leaf_free(as_leaf(node));
        return;
    }
    branch = as_branch(node);
    for (size_t i = 0; i < branch->count; i++)
        node_unref(branch->children[i]);
    free(branch);
}

static void node_unrefp(struct pmap_node **node)
{
    node_unref(*node);
}

static struct span leaf_key(const struct leaf *leaf)
{
    return span_of(leaf->key, leaf->key_len);
}

static bool leaf_is(const struct leaf *leaf, uint64_t hash, struct span key)
{
    return leaf->hash == hash && span_eq(leaf_key(leaf), key);
}

static struct pmap_node *leaf_new(const struct pmap_values *values, uint64_t hash,
                                  struct span key, void *value)
{
    struct leaf *leaf;

    if (key.n > SIZE_MAX - sizeof(*leaf))
        return NULL;
    leaf = malloc(sizeof(*leaf) + key.n);
    if (!leaf)
        return NULL;

    atomic_init(&leaf->node.refs, 1);
    leaf->node.is_leaf = true;
    leaf->values = values;
    leaf->hash = hash;
    leaf->value = value;
    leaf->key_len = key.n;
    if (key.n)
        memcpy(leaf->key, key.p, key.n);
    if (values->ref)
        values->ref(value);
    return &leaf->node;
}

static struct branch *branch_new(uint32_t bitmap, size_t count)
{
    struct branch *branch = malloc(sizeof(*branch) + count * sizeof(branch->children[0]));

    if (!branch)
        return NULL;
    atomic_init(&branch->node.refs, 1);
    branch->node.is_leaf = false;
    branch->bitmap = bitmap;
    branch->count = count;
    return branch;
}

static uint32_t level_bit(uint64_t hash, unsigned shift)
{
    return shift < HASH_BITS ? 1u << ((hash >> shift) & LEVEL_MASK) : 0;
}

/* Without the instruction, which the oldest machines lack, the compiler would call a function. */
static inline size_t bits_set(uint32_t v)
{
    v -= v >> 1 & 0x55555555u;
    v = (v & 0x33333333u) + (v >> 2 & 0x33333333u);
    return (((v + (v >> 4)) & 0x0f0f0f0fu) * 0x01010101u) >> 24;
}

static struct slot slot_find(const struct branch *branch, uint64_t hash, struct span key,
                             unsigned shift)
{
    uint32_t bit = level_bit(hash, shift);
    size_t at = 0;

    if (bit) {
        at = bits_set(branch->bitmap & (bit - 1));
        return (struct slot){ at, bit, (branch->bitmap & bit) != 0 };
    }
    while (at < branch->count && !leaf_is(as_leaf(branch->children[at]), hash, key))
        at++;
    return (struct slot){ at, 0, at < branch->count };
}

/* Copies children [from, from + n) of `source`, with a reference each. */
static void children_copy(struct pmap_node **to, const struct branch *source, size_t from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = node_ref(source->children[from + i]);
}

/* The branch with `child` (whose reference is taken over on success) in the slot. */
static struct pmap_node *branch_with(const struct branch *old, struct slot slot,
                                     struct pmap_node *child)
{
    size_t tail = slot.at + slot.is_taken;
    struct branch *branch = branch_new(old->bitmap | slot.bit, old->count + !slot.is_taken);

    if (!branch)
        return NULL;
    children_copy(branch->children, old, 0, slot.at);
    branch->children[slot.at] = child;
    children_copy(branch->children + slot.at + 1, old, tail, old->count - tail);
    return &branch->node;
}

/* The branch without the slot's child. */
static struct pmap_node *branch_without(const struct branch *old, struct slot slot)
{
    struct branch *branch = branch_new(old->bitmap & ~slot.bit, old->count - 1);

    if (!branch)
        return NULL;
    children_copy(branch->children, old, 0, slot.at);
    children_copy(branch->children + slot.at, old, slot.at + 1, old->count - slot.at - 1);
    return &branch->node;
}

/* Branches from `shift` on down to where the two leaves part. */
static struct pmap_node *branch_of_two(struct pmap_node *a, struct pmap_node *b, unsigned shift)
{
    AUTO(node_unrefp) struct pmap_node *below = NULL;
    uint32_t bit_a = level_bit(as_leaf(a)->hash, shift);
    uint32_t bit_b = level_bit(as_leaf(b)->hash, shift);
    bool is_shared = bit_a && bit_a == bit_b;
    struct branch *branch;

    if (is_shared) {
        below = branch_of_two(a, b, shift + LEVEL_BITS);
        if (!below)
            return NULL;
    }
    branch = branch_new(bit_a | bit_b, is_shared ? 1 : 2);
    if (!branch)
        return NULL;

    if (is_shared) {
        branch->children[0] = TAKE(below);
    } else {
        branch->children[bit_a > bit_b] = node_ref(a);
        branch->children[bit_a <= bit_b] = node_ref(b);
    }
    return &branch->node;
}

/* A new node that has all of `old` and the leaf; NULL: out of memory. */
static struct pmap_node *node_put(struct pmap_node *old, struct pmap_node *leaf, unsigned shift,
                                  bool *ret_is_new)
{
    AUTO(node_unrefp) struct pmap_node *child = NULL;
    uint64_t hash = as_leaf(leaf)->hash;
    struct span key = leaf_key(as_leaf(leaf));
    struct pmap_node *fresh;
    struct slot slot;

    if (old && old->is_leaf && !leaf_is(as_leaf(old), hash, key))
        return branch_of_two(old, leaf, shift);
    if (!old || old->is_leaf) {
        *ret_is_new = !old;
        return node_ref(leaf);
    }

    slot = slot_find(as_branch(old), hash, key, shift);
    child = slot.is_taken
        ? node_put(as_branch(old)->children[slot.at], leaf, shift + LEVEL_BITS, ret_is_new)
        : node_ref(leaf);
    if (!child)
        return NULL;
    fresh = branch_with(as_branch(old), slot, child);
    if (fresh)
        child = NULL;
    return fresh;
}

/* `ret_node` is the node without the key (which is there); NULL when nothing is left. */
static int node_remove(const struct pmap_node *old, uint64_t hash, struct span key, unsigned shift,
                       struct pmap_node **ret_node)
{
    AUTO(node_unrefp) struct pmap_node *child = NULL;
    struct branch *branch;
    struct slot slot;
    int r;

    *ret_node = NULL;
    if (old->is_leaf)
        return 0;
    branch = as_branch(old);
    slot = slot_find(branch, hash, key, shift);
    r = node_remove(branch->children[slot.at], hash, key, shift + LEVEL_BITS, &child);
    if (r)
        return r;

    /* What has become a lone leaf moves up, so that equal maps have equal shapes. */
    if (!child && branch->count == 2 && branch->children[!slot.at]->is_leaf)
        *ret_node = node_ref(branch->children[!slot.at]);
    else if (child && branch->count == 1 && child->is_leaf)
        *ret_node = TAKE(child);
    else if (!child)
        *ret_node = branch_without(branch, slot);
    else
        *ret_node = branch_with(branch, slot, child);
    if (!*ret_node)
        return -ENOMEM;
    child = NULL;
    return 0;
}

static uint64_t key_hash(const struct pmap *m, struct span key)
{
    return m->values->hash ? m->values->hash(key) : hash_bytes(key);
}

static const struct leaf *leaf_find(const struct pmap *m, uint64_t hash, struct span key)
{
    const struct pmap_node *node = m->root;

    for (unsigned shift = 0; node && !node->is_leaf; shift += LEVEL_BITS) {
        struct slot slot = slot_find(as_branch(node), hash, key, shift);

        node = slot.is_taken ? as_branch(node)->children[slot.at] : NULL;
    }
    return node && leaf_is(as_leaf(node), hash, key) ? as_leaf(node) : NULL;
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
    node_unref(m->root);
    m->root = NULL;
    m->count = 0;
}

void *pmap_get(const struct pmap *m, struct span key)
{
    const struct leaf *leaf = m->root ? leaf_find(m, key_hash(m, key), key) : NULL;

    return leaf ? leaf->value : NULL;
}

int pmap_put(const struct pmap *m, struct span key, void *value, struct pmap *ret_map)
{
    AUTO(node_unrefp) struct pmap_node *leaf = NULL;
    struct pmap_node *root;
    bool is_new = true;

    if (!value)
        return -EINVAL;
    leaf = leaf_new(m->values, key_hash(m, key), key, value);
    if (!leaf)
        return -ENOMEM;
    root = node_put(m->root, leaf, 0, &is_new);
    if (!root)
        return -ENOMEM;

    *ret_map = (struct pmap){ root, m->count + is_new, m->values };
    return 0;
}

int pmap_remove(const struct pmap *m, struct span key, struct pmap *ret_map)
{
    uint64_t hash = key_hash(m, key);
    struct pmap_node *root;
    int r;

    if (!leaf_find(m, hash, key)) {
        *ret_map = pmap_share(m);
        return 0;
    }
    r = node_remove(m->root, hash, key, 0, &root);
    if (r)
        return r;

    *ret_map = (struct pmap){ root, m->count - 1, m->values };
    return 0;
}

int pmap_set(struct pmap *m, struct span key, void *value)
{
    struct pmap next;
    int r = pmap_put(m, key, value, &next);

    if (r)
        return r;
    pmap_deinit(m);
    *m = next;
    return 0;
}

int pmap_unset(struct pmap *m, struct span key)
{
    struct pmap next;
    int r = pmap_remove(m, key, &next);

    if (r)
        return r;
    pmap_deinit(m);
    *m = next;
    return 0;
}

/* Climbs to the nearest branch with a child that was not seen; that child, or NULL. */
static const struct pmap_node *cursor_step(struct pmap_cursor *c)
{
    while (c->depth) {
        const struct branch *branch = as_branch(c->path[c->depth - 1]);
        size_t at = c->at[c->depth - 1]++;

        if (at < branch->count)
            return branch->children[at];
        c->depth--;
    }
    return NULL;
}

bool pmap_next(const struct pmap *m, struct pmap_cursor *cursor, struct span *ret_key,
               void **ret_value)
{
    const struct pmap_node *node = cursor->is_started ? cursor_step(cursor) : m->root;

    cursor->is_started = true;
    while (node && !node->is_leaf) {
        cursor->path[cursor->depth] = node;
        cursor->at[cursor->depth++] = 0;
        node = cursor_step(cursor);
    }
    if (!node)
        return false;

    *ret_key = leaf_key(as_leaf(node));
    *ret_value = as_leaf(node)->value;
    return true;
}
