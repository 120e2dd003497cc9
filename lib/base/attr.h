#pragma once
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>
/*
 * attr.h - the ownership and checking idioms of the house.
 *
 * A local that owns something is declared AUTO(its cleanup); success hands it
 * over with TAKE().  So a function has one exit for each owner and no ladder.
 *
 * Threads    nothing here has state.
 */
#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define AUTO(cleanup_fn) __attribute__((cleanup(cleanup_fn)))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define sizeof_field(type, field) sizeof(((type *)0)->field)
#define container_of(ptr, type, member) \
    ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

/* Hand the value over: the owner that it came from holds nothing afterwards. */
#define TAKE(p)                          \
    ({                                   \
        __typeof__(p) taken_ = (p);      \
        (p) = NULL;                      \
        taken_;                          \
    })
#define TAKE_FD(fd)                      \
    ({                                   \
        int taken_ = (fd);               \
        (fd) = -1;                       \
        taken_;                          \
    })

/* Cleanups for AUTO(): each takes the address of the local. */
static inline void freep(void *p)
{
    free(*(void **)p);
}

static inline void fd_closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* Makes the cleanup type_freep(type **) out of type_free(type *). */
#define DEFINE_FREEP(type, free_fn)                        \
    static inline void free_fn##p(struct type **p)         \
    {                                                      \
        if (*p)                                            \
            free_fn(*p);                                   \
    }
