/* Runs compiled policies from Python: one module for all, each policy a shared object that it opens. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>
#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include <dlfcn.h>
#include <numpy/arrayobject.h>

enum { KEPT = 2, MAX_AXES = 8, MAX_ON_STACK = 2048, BATCH_BYTES_WITHOUT_GIL = 1 << 14 };

typedef void (*decide_function)(const void *observation, void *action);
typedef void (*remembering_function)(void *state, const void *observation, void *action);

/* Nothing in it but `kept` changes after __init__, and that under the interpreter's lock, so that threads may share it;
   but for the state of one that remembers an episode. */
typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    decide_function decide;
    remembering_function decide_in_episode;
    float *state;         /* of one episode; NULL where the policy has no memory */
    void *library;
    int observation_axes, action_axes;
    npy_intp observation_shape[MAX_AXES], action_shape[MAX_AXES];
    npy_intp observation_size, action_size;
    int takes_bytes;      /* uint8 observations, else float32 */
    int gives_choices;    /* int32 from C, int64 to Python */
    PyObject *artifact;   /* the artifact */
    PyObject *convert;    /* one observation of any kind -> a batch of one that `decide` takes */
    PyObject *convert_all;/* the same for a batch */
    PyObject *error;      /* the exception for a wrong `out` */
    PyObject *kept[KEPT]; /* float32 actions given out before, to be given again once nobody else holds them */
} Actor;

static int read_shape(PyObject *shape, int *axes, npy_intp *sizes, npy_intp *size)
{
    Py_ssize_t i, n = PyTuple_Check(shape) ? PyTuple_GET_SIZE(shape) : -1;
    if (n < 0 || n > MAX_AXES) {
        PyErr_SetString(PyExc_ValueError, "a shape must be a tuple of at most 8 sizes");
        return -1;
    }
    *axes = (int)n;
    *size = 1;
    for (i = 0; i < n; i++) {
        sizes[i] = PyLong_AsSsize_t(PyTuple_GET_ITEM(shape, i));
        if (sizes[i] == -1 && PyErr_Occurred()) {
            return -1;
        }
        *size *= sizes[i];
    }
    return 0;
}

static int same_shape(PyArrayObject *array, int axes, const npy_intp *sizes)
{
    return PyArray_NDIM(array) == axes && PyArray_CompareLists(PyArray_DIMS(array), sizes, axes);
}

static inline void call_policy(Actor *self, const void *observation, void *action)
{
    if (self->state != NULL) {
        self->decide_in_episode(self->state, observation, action);
    } else {
        self->decide(observation, action);
    }
}

/* Writes the action as C gives it for one observation: 0, or -1 with an exception. */
static int decide(Actor *self, PyObject *observation, void *action)
{
    if (PyArray_Check(observation)) {
        PyArrayObject *array = (PyArrayObject *)observation;
        int type = PyArray_TYPE(array);
        if (PyArray_ISCARRAY_RO(array) && same_shape(array, self->observation_axes, self->observation_shape)) {
            if (type == (self->takes_bytes ? NPY_UINT8 : NPY_FLOAT32)) {
                call_policy(self, PyArray_DATA(array), action);
                return 0;
            }
            if (type == NPY_FLOAT64 && !self->takes_bytes && self->observation_size <= MAX_ON_STACK) {
                const double *values = (const double *)PyArray_DATA(array);
                float narrowed[MAX_ON_STACK];
                npy_intp i;
                for (i = 0; i < self->observation_size; i++) {
                    narrowed[i] = (float)values[i];
                }
                call_policy(self, narrowed, action);
                return 0;
            }
        }
    }
    /* Everything else: strided, integers, lists, mappings, and what is refused. */
    PyObject *converted = PyObject_CallOneArg(self->convert, observation);
    if (converted == NULL) {
        return -1;
    }
    call_policy(self, PyArray_DATA((PyArrayObject *)converted), action);
    Py_DECREF(converted);
    return 0;
}

/* Whether an action that was given out has come back as it was. */
static int came_back(Actor *self, PyObject *action)
{
    const PyArrayObject_fields *array = (const PyArrayObject_fields *)action;
    return action != NULL && Py_REFCNT(action) == 1 && array->weakreflist == NULL &&
           array->descr->type_num == NPY_FLOAT32 && PyArray_ISCARRAY((PyArrayObject *)action) &&
           same_shape((PyArrayObject *)action, self->action_axes, self->action_shape);
}

/* A float32 array for an action. Making one takes as long as a small network does. */
static PyObject *new_action(Actor *self)
{
#if !defined(Py_GIL_DISABLED)
    int i;
    for (i = 0; i < KEPT; i++) {
        if (came_back(self, self->kept[i])) {
            return Py_NewRef(self->kept[i]);
        }
    }
    PyObject *action = PyArray_SimpleNew(self->action_axes, self->action_shape, NPY_FLOAT32);
    if (action != NULL) {
        PyObject *oldest = self->kept[KEPT - 1];
        memmove(self->kept + 1, self->kept, (KEPT - 1) * sizeof *self->kept);
        self->kept[0] = Py_NewRef(action);
        Py_XDECREF(oldest);
    }
    return action;
#else
    return PyArray_SimpleNew(self->action_axes, self->action_shape, NPY_FLOAT32);
#endif
}

static void widen(const int32_t *choices, npy_int64 *result, npy_intp n)
{
    npy_intp i;
    for (i = 0; i < n; i++) {
        result[i] = choices[i];
    }
}

static PyObject *call(PyObject *object, PyObject *const *arguments, size_t flags, PyObject *names)
{
    Actor *self = (Actor *)object;
    if (PyVectorcall_NARGS(flags) != 1 || names != NULL) {
        PyErr_SetString(PyExc_TypeError, "a policy takes one observation");
        return NULL;
    }
    if (!self->gives_choices) {
        PyObject *action = new_action(self);
        if (action != NULL && decide(self, arguments[0], PyArray_DATA((PyArrayObject *)action)) < 0) {
            Py_CLEAR(action);
        }
        return action;
    }
    if (self->action_axes == 0) {
        int32_t choice;
        return decide(self, arguments[0], &choice) < 0 ? NULL : PyLong_FromLong(choice);
    }
    int32_t choices[MAX_ON_STACK];
    if (decide(self, arguments[0], choices) < 0) {
        return NULL;
    }
    PyObject *action = PyArray_SimpleNew(self->action_axes, self->action_shape, NPY_INT64);
    if (action != NULL) {
        widen(choices, (npy_int64 *)PyArray_DATA((PyArrayObject *)action), self->action_size);
    }
    return action;
}

PyDoc_STRVAR(into_doc, "into(observation, out): nothing; writes the action into `out`, an array of the action's shape.");

static PyObject *into(Actor *self, PyObject *const *arguments, Py_ssize_t n)
{
    if (n != 2) {
        PyErr_SetString(PyExc_TypeError, "into takes an observation and an array for the action");
        return NULL;
    }
    PyArrayObject *out = (PyArrayObject *)arguments[1];
    int type = self->gives_choices ? NPY_INT64 : NPY_FLOAT32;
    if (!PyArray_Check(arguments[1]) || !PyArray_ISCARRAY(out) || PyArray_TYPE(out) != type ||
        !same_shape(out, self->action_axes, self->action_shape)) {
        PyErr_Format(self->error, "`out` must be a contiguous, writeable %s array of the action's shape",
                     self->gives_choices ? "int64" : "float32");
        return NULL;
    }
    if (!self->gives_choices) {
        /* Through memory of its own where `out` may be the observation itself. */
        if (arguments[0] == arguments[1]) {
            PyErr_SetString(self->error, "`out` must be another array than the observation");
            return NULL;
        }
        if (decide(self, arguments[0], PyArray_DATA(out)) < 0) {
            return NULL;
        }
    } else {
        int32_t choices[MAX_ON_STACK];
        if (decide(self, arguments[0], choices) < 0) {
            return NULL;
        }
        widen(choices, (npy_int64 *)PyArray_DATA(out), self->action_size);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(batch_doc, "batch(observations): the actions, batch first; each equal to that of its observation alone.");

static PyObject *batch(Actor *self, PyObject *observations)
{
    if (self->state != NULL) {
        PyErr_SetString(self->error, "an episode of a policy with a memory is acted step by step, not on a batch");
        return NULL;
    }
    PyObject *converted = PyObject_CallOneArg(self->convert_all, observations);
    if (converted == NULL) {
        return NULL;
    }
    npy_intp shape[MAX_AXES + 1], n = PyArray_DIM((PyArrayObject *)converted, 0), row;
    npy_intp stride = self->observation_size * (self->takes_bytes ? 1 : 4);
    shape[0] = n;
    memcpy(shape + 1, self->action_shape, sizeof self->action_shape);
    PyObject *actions = PyArray_SimpleNew(self->action_axes + 1, shape, self->gives_choices ? NPY_INT64 : NPY_FLOAT32);
    if (actions != NULL) {
        const char *observation = PyArray_BYTES((PyArrayObject *)converted);
        char *action = PyArray_BYTES((PyArrayObject *)actions);
        PyThreadState *state = n * stride > BATCH_BYTES_WITHOUT_GIL ? PyEval_SaveThread() : NULL;
        for (row = 0; row < n; row++, observation += stride) {
            if (self->gives_choices) {
                int32_t choices[MAX_ON_STACK];
                self->decide(observation, choices);
                widen(choices, (npy_int64 *)action + row * self->action_size, self->action_size);
            } else {
                self->decide(observation, action + row * self->action_size * 4);
            }
        }
        if (state != NULL) {
            PyEval_RestoreThread(state);
        }
    }
    Py_DECREF(converted);
    return actions;
}

PyDoc_STRVAR(begin_doc, "begin(seed=0): the act of an episode of its own: without a memory the actor itself.");

static PyObject *begin(Actor *self, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"seed", NULL};
    PyObject *seed = NULL;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|O", names, &seed)) {
        return NULL;
    }
    if (self->state != NULL) {
        PyErr_SetString(self->error, "an episode has begun already; begin() the opened artifact for another");
        return NULL;
    }
    return Py_NewRef((PyObject *)self);
}

static int initialize(Actor *self, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"library", "symbol", "observation_shape", "action_shape", "takes_bytes", "gives_choices",
                            "state_size", "reset", "artifact", "convert", "convert_all", "error", NULL};
    PyObject *path, *observation_shape, *action_shape, *artifact, *convert, *convert_all, *error;
    const char *symbol, *reset_symbol;
    Py_ssize_t state_size;
    if (self->library != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "an actor is opened once");
        return -1;
    }
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O&sOOppnsOOOO", names, PyUnicode_FSConverter, &path, &symbol,
                                     &observation_shape, &action_shape, &self->takes_bytes, &self->gives_choices,
                                     &state_size, &reset_symbol, &artifact, &convert, &convert_all, &error)) {
        return -1;
    }
    self->library = dlopen(PyBytes_AS_STRING(path), RTLD_NOW | RTLD_LOCAL);
    Py_DECREF(path);
    if (self->library == NULL) {
        PyErr_SetString(PyExc_OSError, dlerror());
        return -1;
    }
    *(void **)&self->decide = dlsym(self->library, symbol);
    if (self->decide == NULL) {
        PyErr_SetString(PyExc_OSError, dlerror());
        return -1;
    }
    if (state_size > 0) {
        void (*reset)(void *state);
        *(void **)&reset = dlsym(self->library, reset_symbol);
        if (reset == NULL) {
            PyErr_SetString(PyExc_OSError, dlerror());
            return -1;
        }
        self->state = PyMem_Calloc((size_t)state_size, sizeof *self->state);
        if (self->state == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        *(void **)&self->decide_in_episode = dlsym(self->library, symbol);
        reset(self->state);
    }
    if (read_shape(observation_shape, &self->observation_axes, self->observation_shape, &self->observation_size) < 0 ||
        read_shape(action_shape, &self->action_axes, self->action_shape, &self->action_size) < 0) {
        return -1;
    }
    if (self->gives_choices && self->action_size > MAX_ON_STACK) {
        PyErr_SetString(PyExc_ValueError, "at most 2048 choices at once");
        return -1;
    }
    self->artifact = Py_NewRef(artifact);
    self->convert = Py_NewRef(convert);
    self->convert_all = Py_NewRef(convert_all);
    self->error = Py_NewRef(error);
    self->vectorcall = call;
    return 0;
}

static int traverse(Actor *self, visitproc visit, void *arg)
{
    Py_VISIT(self->artifact);
    Py_VISIT(self->convert);
    Py_VISIT(self->convert_all);
    Py_VISIT(self->error);
    Py_VISIT(self->kept[0]);
    Py_VISIT(self->kept[1]);
    return 0;
}

static int clear(Actor *self)
{
    Py_CLEAR(self->artifact);
    Py_CLEAR(self->convert);
    Py_CLEAR(self->convert_all);
    Py_CLEAR(self->error);
    Py_CLEAR(self->kept[0]);
    Py_CLEAR(self->kept[1]);
    return 0;
}

static void deallocate(Actor *self)
{
    PyObject_GC_UnTrack(self);
    clear(self);
    PyMem_Free(self->state);
    if (self->library != NULL) {
        dlclose(self->library);
    }
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyMethodDef methods[] = {
    {"begin", (PyCFunction)(void (*)(void))begin, METH_VARARGS | METH_KEYWORDS, begin_doc},
    {"batch", (PyCFunction)batch, METH_O, batch_doc},
    {"into", (PyCFunction)(void (*)(void))into, METH_FASTCALL, into_doc},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"artifact", T_OBJECT_EX, offsetof(Actor, artifact), READONLY, "What is running."},
    {NULL, 0, 0, 0, NULL},
};

static PyTypeObject actor_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "lilliput_native.NativeActor",
    .tp_doc = PyDoc_STR("A running C artifact: the action for one raw observation. Threads may share it."),
    .tp_basicsize = sizeof(Actor),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(Actor, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)initialize,
    .tp_traverse = (traverseproc)traverse,
    .tp_clear = (inquiry)clear,
    .tp_dealloc = (destructor)deallocate,
    .tp_methods = methods,
    .tp_members = members,
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "lilliput_native", .m_size = -1};

PyMODINIT_FUNC PyInit_lilliput_native(void)
{
    import_array();
    if (PyType_Ready(&actor_type) < 0) {
        return NULL;
    }
    PyObject *result = PyModule_Create(&module);
    if (result != NULL && PyModule_AddObjectRef(result, "NativeActor", (PyObject *)&actor_type) < 0) {
        Py_CLEAR(result);
    }
    return result;
}
