#include "lib/tunnel/hello.h"
#include "lib/check/check.h"

#include <stdio.h>
#include <stdlib.h>

/*
 * Reads schema/vectors/hello_signature.txt: HELLOs that prove an agent by its key's signature, and
 * those that do not.
 */
#define VECTORS "schema/vectors/hello_signature.txt"
#define NOW_S 1767300000
#define LINE_MAX_BYTES 32768

struct vector {
    char *it, *pin, *accepting, *dialling, *want;
};

static void vector_clear(struct vector *v)
{
    free(v->it);
    free(v->pin);
    free(v->accepting);
    free(v->dialling);
    free(v->want);
    *v = (struct vector){ 0 };
}

static void keep(struct vector *v, struct span key, struct span value)
{
    const struct { const char *key; char **field; } fields[] = {
        { "it", &v->it }, { "pin", &v->pin }, { "accepting", &v->accepting },
        { "dialling", &v->dialling }, { "want", &v->want },
    };

    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (span_eq(key, span_str(fields[i].key)))
            *fields[i].field = span_dup(span_skip(value, 1));
    }
}

static bool vector_read(FILE *file, struct vector *v)
{
    static char line[LINE_MAX_BYTES];

    vector_clear(v);
    while (!v->want && fgets(line, sizeof(line), file)) {
        struct span value = span_of(line, strcspn(line, "\n")), key;

        if (line[0] != '#' && value.n && span_cut(&value, ':', &key))
            keep(v, key, value);
    }
    return v->want != NULL;
}

static enum reason judge(const struct vector *v, const char *cluster, int64_t now_s, struct identity *ret_who)
{
    struct tunnel_hello accepting = { 0 }, dialling = { 0 };
    struct json_error e;
    struct trust trust = { 0 };
    enum reason why;

    assert_true(span_copy(span_str(cluster), trust.cluster, sizeof(trust.cluster)));
    assert_true(span_copy(span_str(v->pin), trust.pin, sizeof(trust.pin)));
    assert_int_equal(hello_decode(span_str(v->accepting), true, &accepting, &e), 0);
    assert_int_equal(hello_decode(span_str(v->dialling), false, &dialling, &e), 0);
    why = hello_check_signature(&accepting, &dialling, &trust, CERT_AGENT, now_s, ret_who);
    hello_deinit(&accepting);
    hello_deinit(&dialling);
    return why;
}

static void test_vectors(void **state)
{
    struct vector v = { 0 };
    struct identity who;
    unsigned count = 0, good = 0;
    FILE *file = fopen(VECTORS, "r");

    (void)state;
    assert_non_null(file);      /* the tests are started from the project's root */
    for (; vector_read(file, &v); count++) {
        enum reason why = judge(&v, "test", NOW_S, &who);

        check_row(v.it);
        assert_string_equal(reason_text(why), v.want);
        good += why == REASON_NONE;
    }
    fclose(file);
    assert_int_equal(count, 7);
    assert_int_equal(good, 1);
}

static void test_first_vector(void **state)
{
    static const struct {
        const char *it, *cluster;
        int64_t now_s;
        enum reason want;
    } rows[] = {
        { "is who the certificate says", "test", NOW_S, REASON_NONE },
        { "is of this cluster only", "tesu", NOW_S, REASON_BAD_CERTIFICATE },
        { "is not too early", "test", 1767139200, REASON_CLOCK_SKEW },
        { "may be renewed for a while", "test", 1767830400 + 29 * 86400, REASON_NONE },
        { "is too late after that", "test", 1767830400 + 31 * 86400, REASON_CERTIFICATE_EXPIRED },
    };
    struct vector v = { 0 };
    FILE *file = fopen(VECTORS, "r");

    (void)state;
    assert_non_null(file);
    assert_true(vector_read(file, &v));
    fclose(file);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct identity who = { .generation = 0 };

        check_row(rows[i].it);
        assert_int_equal(judge(&v, rows[i].cluster, rows[i].now_s, &who), rows[i].want);
        if (rows[i].want)
            continue;
        assert_string_equal(who.id.text, "01J0000000000000000000000B");
        assert_int_equal(who.generation, 3);
        assert_int_equal(who.is_expired, i == 3);
    }
    vector_clear(&v);
}

/* Not one character of the signature can be another. */
static void test_flips(void **state)
{
    struct vector v = { 0 };
    struct identity who;
    FILE *file = fopen(VECTORS, "r");
    char *signature, *end;

    (void)state;
    assert_non_null(file);
    assert_true(vector_read(file, &v));
    fclose(file);
    signature = strstr(v.dialling, "\"signature\":\"");
    assert_non_null(signature);
    signature += strlen("\"signature\":\"");
    end = strchr(signature, '"');
    for (char *c = signature; c < end; c++) {
        char was = *c;

        *c = was == 'A' ? 'Q' : 'A';
        assert_int_equal(judge(&v, "test", NOW_S, &who), REASON_BAD_PROOF);
        *c = was;
    }
    assert_int_equal(judge(&v, "test", NOW_S, &who), REASON_NONE);
    vector_clear(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_first_vector),
        cmocka_unit_test(test_flips),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
