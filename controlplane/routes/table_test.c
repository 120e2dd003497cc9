#include "controlplane/domain/right.h"
#include "controlplane/routes/api.h"
#include "controlplane/routes/page.h"
#include "lib/check/check.h"
#include "lib/json/json.h"
#include <stdio.h>

/* The contract and the table of routes must name the same operations, both ways. */
struct fixture {
    struct api *api;
    const struct route *routes;
    size_t count;
    struct json_value *contract;
};

static void setup(struct fixture *f)
{
    static const struct route join = { .method = "POST",
                                       .path = "/api/v1/join",
                                       .operation = "join",
                                       .flags = ROUTE_PUBLIC,
                                       .body_max = 1 };
    struct api_options options = { .cluster = "adit", .extra = &join, .extra_count = 1 };
    struct json_error error;

    assert_int_equal(api_new(&options, &f->api), 0);
    f->routes = api_routes(f->api, &f->count);
    assert_int_equal(json_parse(page_contract(), &f->contract, &error), 0);
}

static void teardown(struct fixture *f)
{
    json_value_free(f->contract);
    api_free(f->api);
}

static const struct json_value *operation_at(const struct fixture *f, const char *path,
                                             const char *method)
{
    char lower[16] = "";

    for (size_t i = 0; method[i] && i + 1 < sizeof(lower); i++)
        lower[i] = (char)(method[i] | 0x20);
    return json_get(json_get(json_get(f->contract, "paths"), path), lower);
}

static const char *under_base(const char *path)
{
    struct span base = SPAN("/api/v1");

    return span_starts(span_str(path), base) ? path + base.n : NULL;
}

static void test_every_route_is_declared(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f);
    for (size_t i = 0; i < f.count; i++) {
        const char *path = under_base(f.routes[i].path);
        struct span id;

        check_row(f.routes[i].operation);
        if (!path)
            continue;                           /* the page */
        assert_true(json_get_str(operation_at(&f, path, f.routes[i].method), "operationId", &id));
        assert_true(span_eq(id, span_str(f.routes[i].operation)));
        assert_non_null(right_find(id));
    }
    teardown(&f);
}

static const struct route *route_of(const struct fixture *f, struct span operation)
{
    for (size_t i = 0; i < f->count; i++) {
        if (span_eq(span_str(f->routes[i].operation), operation))
            return &f->routes[i];
    }
    return NULL;
}

static const struct json_value *resolve(const struct fixture *f, const struct json_value *node)
{
    struct span ref, part;
    const struct json_value *at = f->contract;

    if (!json_get_str(node, "$ref", &ref))
        return node;
    assert_true(span_cut(&ref, '/', &part));    /* "#" */
    while (span_cut(&ref, '/', &part)) {
        char key[64];

        assert_true(span_copy(part, key, sizeof(key)));
        at = json_get(at, key);
    }
    assert_non_null(at);
    return at;
}

static bool has_word(const char *words, struct span word)
{
    struct span rest = span_str(words), one;

    while (span_cut(&rest, ' ', &one)) {
        if (span_eq(one, word))
            return true;
    }
    return false;
}

/* The query parameters of the operation, neither more nor fewer. */
static void check_query(const struct fixture *f, const struct json_value *operation,
                        const struct route *route)
{
    const struct json_value *parameters = json_get(operation, "parameters");
    struct span rest = span_str(route->query), word;
    size_t declared = 0, served = 0;

    for (size_t i = 0; parameters && i < json_count(parameters); i++) {
        const struct json_value *p = resolve(f, json_at(parameters, i));
        struct span in, name;

        assert_true(json_get_str(p, "in", &in) && json_get_str(p, "name", &name));
        if (!span_eq(in, SPAN("query")))
            continue;
        declared++;
        assert_true(has_word(route->query, name));
    }
    while (span_cut(&rest, ' ', &word))
        served += word.n > 0;
    assert_int_equal(declared, served);
}

static void test_every_operation_is_served(void **state)
{
    static const char *const methods[] = { "get", "post", "put", "patch", "delete" };
    const struct json_value *paths;
    struct fixture f;
    size_t seen = 0;

    (void)state;
    setup(&f);
    paths = json_get(f.contract, "paths");
    for (size_t i = 0; i < json_count(paths); i++) {
        struct span path, id;
        const struct json_value *item = json_member(paths, i, &path);

        for (size_t m = 0; m < ARRAY_LEN(methods); m++) {
            const struct json_value *operation = json_get(item, methods[m]);
            const struct route *route;

            if (!operation)
                continue;
            assert_true(json_get_str(operation, "operationId", &id));
            route = route_of(&f, id);
            assert_non_null(route);
            check_row(route->operation);
            assert_true(span_eq(span_str(under_base(route->path)), path));
            check_query(&f, operation, route);
            assert_int_equal(json_get(operation, "requestBody") != NULL, route->body_max > 0);
            seen++;
        }
    }
    assert_true(seen > 80);
    teardown(&f);
}

/* A public route has no right in the table, every other one has. */
static void test_rights_reach_the_routes(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f);
    for (size_t i = 0; i < f.count; i++) {
        const struct right *right = right_find(span_str(f.routes[i].operation));

        check_row(f.routes[i].operation);
        if (!right)
            assert_null(under_base(f.routes[i].path));
        else
            assert_int_equal(!(right->any | right->own), (f.routes[i].flags & ROUTE_PUBLIC) != 0);
        if (right && (right->any | right->own))
            assert_int_equal(f.routes[i].roles, right->any | right->own);
    }
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_route_is_declared),
        cmocka_unit_test(test_every_operation_is_served),
        cmocka_unit_test(test_rights_reach_the_routes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
