/* pylog_struct._speed: the hot path, compiled.  pylog_struct/fast_lane.py says the same in Python,
 * decides what may take it, and does without this module where nobody could compile it. */
#include "lane.h"

static PyObject *
methods_for(PyObject *module, PyObject *class)
{
    (void)module;
    if (!PyType_Check(class)) {
        PyErr_SetString(PyExc_TypeError, "methods_for(class)");
        return NULL;
    }
    PyObject *found = PyDict_New();
    for (PyMethodDef *method = log_methods; found != NULL && method->ml_name != NULL; method++) {
        PyObject *made = PyDescr_NewMethod((PyTypeObject *)class, method);
        if (made == NULL || PyDict_SetItemString(found, method->ml_name, made) < 0) {
            Py_CLEAR(found);
        }
        Py_XDECREF(made);
    }
    return found;
}

static PyMethodDef functions[] = {
    {"methods_for", methods_for, METH_O,
     "methods_for($module, class, /)\n--\n\nReturn the five methods of a bound logger, by name, for *class*."},
    {NULL},
};

static int
fill(PyObject *module)
{
    /* The types and names are one set for the process.  Python 3.12 does not find a type's attributes in
     * another interpreter than the one that made it: such a one does without this module. */
    if (PyInterpreterState_GetID(PyInterpreterState_Get()) != 0) {
        PyErr_SetString(PyExc_ImportError, "pylog_struct._speed is for the main interpreter only");
        return -1;
    }
    if (lane_prepare() < 0) {
        return -1;
    }
    if (PyModule_AddObjectRef(module, "Gate", (PyObject *)gate_type) < 0) {
        return -1;
    }
    return PyModule_AddObjectRef(module, "Lane", (PyObject *)lane_type);
}

/* Not at once: each interpreter runs `fill`, also when another one has loaded the file. */
static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, fill},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_speed", "The hot path, compiled.", 0, functions, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__speed(void)
{
    return PyModuleDef_Init(&definition);
}
