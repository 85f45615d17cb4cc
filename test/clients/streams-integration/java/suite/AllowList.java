package suite;

import java.lang.reflect.Method;
import org.junit.jupiter.api.extension.ConditionEvaluationResult;
import org.junit.jupiter.api.extension.ExecutionCondition;
import org.junit.jupiter.api.extension.ExtensionContext;

/** Leaves out what the allow-list names, "Class" or "Class.method INVOCATION", before it begins. */
public final class AllowList implements ExecutionCondition {
  @Override
  public ConditionEvaluationResult evaluateExecutionCondition(ExtensionContext context) {
    String reason = context.getTestClass()
        .map(testClass -> Exclusions.reasonFor(nameOf(testClass, context))).orElse(null);
    return reason == null ? ConditionEvaluationResult.enabled(null)
        : ConditionEvaluationResult.disabled(reason);
  }

  /** An invocation's display name is its parameters; a method's own begins with its name. */
  private static String nameOf(Class<?> testClass, ExtensionContext context) {
    String className = Exclusions.shortName(testClass);
    String method = context.getTestMethod().map(Method::getName).orElse(null);
    if (method == null) {
      return className;
    }
    String shown = context.getDisplayName();
    return className + "." + method + (shown.startsWith(method) ? "" : " " + shown);
  }
}
