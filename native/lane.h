/* The way of a plain event, from the arguments of a log call to the queue or the file. */
#ifndef PYLOG_LANE_H
#define PYLOG_LANE_H

#include "encode.h"

/* The counters of a RecordBuffer that its entrance needs; a Python class adds the rest. */
typedef struct {
    PyObject_HEAD
    Py_ssize_t size, bytes, limit, byte_limit, wake_size, wake_bytes;
} Gate;

extern PyType_Spec gate_spec, lane_spec;
extern PyTypeObject *lane_type;
extern PyMethodDef log_methods[];

int lane_prepare(void); /* makes what all lanes share */

#endif
