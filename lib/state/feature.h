#pragma once
#include "lib/policy/policy.h"
/*
 * feature.h - what came to the state after its first release.  A relay tells the control plane what
 * it knows of it, and no change is taken that one of the relays could not enforce.
 *
 * Shape      a set of features is a number: bit 1 << feature.
 * Threads    pure.
 * Source     schema/state.md, "Versions"; a test holds it against this table.
 */
#define STATE_FEATURES(X) \
    X(SKIP, "skip") X(QUOTA, "quota") X(CUT_BREAKER, "cut-breaker")

enum state_feature {
#define STATE_FEATURE_ENUM(upper, text) STATE_FEATURE_##upper,
    STATE_FEATURES(STATE_FEATURE_ENUM)
#undef STATE_FEATURE_ENUM
    STATE_FEATURE_COUNT
};

#define STATE_FEATURES_ALL ((1u << STATE_FEATURE_COUNT) - 1)

const char *state_feature_name(enum state_feature feature);
/* 0: not known here. */
uint32_t state_feature_bit(struct span name);
/* What a reader must know to enforce any record of the kind, this record, all of a policy. */
uint32_t record_kind_features(enum record_kind kind);
uint32_t record_features(const struct record *r);
uint32_t policy_features(const struct policy *p);
