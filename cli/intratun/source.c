#include "cli/intratun/intratun.h"
#include "lib/yaml/yaml_text.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

void intratun_source_deinit(struct intratun_source *s)
{
    json_value_free(s->agents);
    json_value_free(s->overrides);
    json_value_free(s->tables);
    *s = (struct intratun_source){ 0 };
}

static int refuse(struct buf *reterr, const char *path, const char *why)
{
    buf_printf(reterr, "%.300s: %s", path, why);
    return -EINVAL;
}

/* No link, no device, no pipe that never ends; and no larger than told. */
static int read_regular(const char *path, size_t max, struct buf *out, struct buf *reterr)
{
    AUTO(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK);
    unsigned char chunk[16384];
    struct stat st;
    ssize_t n = 0;

    if (fd < 0)
        return refuse(reterr, path, errno == ELOOP ? "is a symbolic link; name the file itself" : strerrordesc_np(errno));
    if (fstat(fd, &st) || !S_ISREG(st.st_mode))
        return refuse(reterr, path, "is no regular file");
    if (st.st_size > (off_t)max)
        return refuse(reterr, path, "is too large");
    while (!buf_error(out) && (n = read(fd, chunk, sizeof(chunk))) > 0)
        buf_put(out, chunk, (size_t)n);
    explicit_bzero(chunk, sizeof(chunk));
    if (n < 0)
        return refuse(reterr, path, strerrordesc_np(errno));
    if (buf_error(out) == -ENOBUFS)
        return refuse(reterr, path, "is too large");
    return buf_error(out);
}

static bool is_list_of_objects(const struct json_value *v)
{
    if (json_kind_of(v) != JSON_IS_ARRAY || json_count(v) > INTRATUN_ROWS_MAX)
        return false;
    for (size_t i = 0; i < json_count(v); i++) {
        if (json_kind_of(json_at(v, i)) != JSON_IS_OBJECT)
            return false;
    }
    return true;
}

/* The list, out of a document that is it or holds it. */
static int pick(const char *path, const char *list, const struct json_value *document, struct json_value **ret_value,
                struct buf *reterr)
{
    const struct json_value *found = document;
    AUTO(buf_deinit) struct buf text;
    struct json_error error;

    buf_init_heap(&text, 2 * INTRATUN_YAML_MAX);
    if (json_kind_of(document) == JSON_IS_OBJECT)
        found = json_get(document, list);
    if (!found || json_kind_of(found) == JSON_IS_NULL)
        return json_parse(SPAN("[]"), ret_value, &error);
    if (!is_list_of_objects(found)) {
        buf_printf(reterr, "%.300s: is no list of mappings under \"%s\"", path, list);
        return -EINVAL;
    }
    json_print(found, &text);
    return buf_error(&text) ? buf_error(&text) : json_parse(buf_span(&text), ret_value, &error);
}

int intratun_read_yaml(const char *path, const char *list, struct json_value **ret_value, struct buf *reterr)
{
    AUTO(json_value_freep) struct json_value *document = NULL;
    AUTO(buf_deinit) struct buf text, why;
    int r;

    buf_init_heap(&text, INTRATUN_YAML_MAX);
    buf_init_heap(&why, 1000);
    r = read_regular(path, INTRATUN_YAML_MAX, &text, reterr);
    if (r)
        return r;
    r = yaml_parse(buf_span(&text), 2 * INTRATUN_YAML_MAX, &document, &why);
    if (text.data)
        explicit_bzero(text.data, text.len);
    return r ? refuse(reterr, path, buf_text(&why)) : pick(path, list, document, ret_value, reterr);
}
