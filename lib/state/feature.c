#include "lib/state/feature.h"

static const char *const names[STATE_FEATURE_COUNT] = {
#define STATE_FEATURE_NAME(upper, text) [STATE_FEATURE_##upper] = text,
    STATE_FEATURES(STATE_FEATURE_NAME)
#undef STATE_FEATURE_NAME
};

static bool resets_breaker(const struct record *r)
{
    return RECORD_AS(r, CUT, cut_record)->cut_kind == CUT_BREAKER;
}

static const struct {
    enum record_kind kind;
    enum state_feature feature;
    bool (*needs)(const struct record *r);      /* NULL: each record of the kind */
} rows[] = {
    { RECORD_QUOTA, STATE_FEATURE_QUOTA, NULL },
    { RECORD_CUT, STATE_FEATURE_CUT_BREAKER, resets_breaker },
};

const char *state_feature_name(enum state_feature feature)
{
    return names[feature];
}

uint32_t state_feature_bit(struct span name)
{
    for (unsigned i = 0; i < STATE_FEATURE_COUNT; i++) {
        if (span_eq(name, span_str(names[i])))
            return 1u << i;
    }
    return 0;
}

uint32_t record_kind_features(enum record_kind kind)
{
    uint32_t features = 0;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].kind == kind)
            features |= 1u << rows[i].feature;
    }
    return features;
}

uint32_t record_features(const struct record *r)
{
    uint32_t features = 0;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].kind == r->kind && (!rows[i].needs || rows[i].needs(r)))
            features |= 1u << rows[i].feature;
    }
    return features;
}

/* Of a kind that needs nothing more than itself, one record tells all. */
static uint32_t kind_features_in(const struct policy *p, enum record_kind kind)
{
    uint32_t features = 0, possible = record_kind_features(kind);
    struct policy_cursor cursor = { 0 };
    const struct record *each;

    while (features != possible && (each = policy_next(p, kind, &cursor)))
        features |= record_features(each);
    return features;
}

uint32_t policy_features(const struct policy *p)
{
    uint32_t features = 0;

    for (enum record_kind kind = 0; kind < RECORD_KIND_COUNT; kind++) {
        if (record_kind_features(kind))
            features |= kind_features_in(p, kind);
    }
    return features;
}
